"""The command line: which command is called, and how it ends."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from transfer.cli.exit_status import DONE, FAILED, USAGE
from transfer.cli.messages import name_options
from transfer.cli.parser import make_parser
from transfer.system import hardware, signals
from transfer.system.errors import UserError, is_out_of_memory
from transfer.system.progress import print_line

# Objects that are made between two collections of garbage. With the default of 700, collections slow the imports of
# libraries.
_OBJECTS = 50_000
_OUT_OF_MEMORY = "out of memory; what was computed is kept, run again with more memory free"


def entry(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command, and end the process with its exit status."""
    hardware.sleep_at_barriers()
    gc.set_threshold(_OBJECTS)
    status = main(argv)
    if status == signals.INTERRUPTED:  # to shut down all libraries would take seconds more
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    gc.freeze()  # else the collection at exit goes through all that libraries made
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is returned."""
    argv = sys.argv[1:] if argv is None else list(argv)
    # Of huge images, which `decode` refuses, of broken EXIF data, and of old files of weights: nothing to be done.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", message="Detected pickle protocol")
    # Two images of each of many classes are a classification problem all the same.
    warnings.filterwarnings("ignore", message="The number of unique classes is greater than 50%")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names hold letters that a terminal may not have
            stream.reconfigure(errors="backslashreplace")
    try:
        with signals.stoppable():
            args, unknown = make_parser().parse_known_args(argv)
            if unknown:
                raise UserError(f"unrecognized arguments: {' '.join(unknown)}; see {args.prog} --help")
            _log_to_stderr(quiet=getattr(args, "quiet", False))
            status: int = args.command(args)
            print(end="", flush=True)  # where that fails, at exit nobody would say so in one line
            return status
    except UserError as error:
        return _fail(name_options(str(error)), USAGE, argv)
    except KeyboardInterrupt:
        return _fail(signals.INTERRUPTED_MESSAGE, signals.INTERRUPTED, argv)
    except BrokenPipeError:  # the reader of our output had enough
        _discard_output()
        return DONE
    except OSError as error:  # a full disk, a folder without permission
        return _fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), USAGE, argv)
    except Exception as error:
        if is_out_of_memory(error):
            return _fail(_OUT_OF_MEMORY, USAGE, argv)
        message = f"unexpected {type(error).__name__}: {error}; --debug shows where"
        return _fail(message, FAILED, argv)


def _log_to_stderr(*, quiet: bool) -> None:
    """Log progress to standard error; with `quiet`, warnings and errors only."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print_line(name_options(record.getMessage()))

    logger = logging.getLogger("transfer")
    logger.handlers = [Lines()]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False


def _discard_output() -> None:
    """Leave nothing to flush at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int, argv: Sequence[str]) -> int:
    if "--debug" in argv:
        raise  # the error that is being handled, with its traceback
    try:
        print(end="", flush=True)
    except OSError:
        _discard_output()
    print_line(message)
    return status
