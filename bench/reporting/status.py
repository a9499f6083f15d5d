"""Exit status of the commands of `bench`, with one line for a mistake."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from transfer.system.errors import UserError
from transfer.system.text import printable

USAGE, INTERRUPTED = 2, 130


def exit_status(call: Callable[[], int | None]) -> int:
    """Return a command's status, 0 by default; 2 after one line on standard error for a mistake; 130 if interrupted."""
    # Handled as Ctrl-C is, so that temporary files and child processes are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return call() or 0
    except UserError as error:
        print(f"bench: {printable(str(error))}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return INTERRUPTED
