"""How long a pickle of tensors would keep its reader busy, told without reading it.

`torch.load(weights_only=True)` runs no code. But a tuple that holds one tuple twice, which holds another twice, and so
on, takes five bytes a level and doubles the time to hash it: as the key of a dictionary, 60 levels take centuries, in
which Python answers to nothing.
"""

from __future__ import annotations

import io
import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import torch

# The one reader of torch's archives that is sure to see what `torch.load` sees: another one could be shown something
# else. It is not public, so a release without it is refused in one line.
_Reader = getattr(torch._C, "PyTorchFileReader", None)

# The state dict of a thousand layers takes half a megabyte and fetches its names some thousand times.
MAX_BYTES = 2_000_000
MAX_STEPS = 1_000_000
# What an archive, torch's form since 1.6, begins with. Files before it begin with five pickles: a number, a version,
# the system, the object and the names of its tensors.
ARCHIVE, LEGACY_PICKLES = b"PK\x03\x04", 5


class Busy(ValueError):
    """A pickle that is longer, or takes more steps, than those of state dicts."""


class UnsupportedTorch(RuntimeError):
    """A PyTorch that lacks what checking takes."""


def check(path: Path) -> None:
    """Raise `Busy` for a file that would keep `torch.load` busy; what else may be wrong with it is torch's to tell.

    Raises `UnsupportedTorch` where the installed PyTorch gives no way to look into an archive.
    """
    with path.open("rb") as file:
        archive = file.read(len(ARCHIVE)) == ARCHIVE
        file.seek(0)
        try:
            if archive:
                if _Reader is None:
                    raise UnsupportedTorch(
                        f"torch {torch.__version__} can't look into it; save it as .safetensors"
                    )
                _follow(io.BytesIO(_Reader(str(path)).get_record("data.pkl")))
            else:
                for _ in range(LEGACY_PICKLES):
                    _follow(file)
        except (Busy, UnsupportedTorch):
            raise
        except (ValueError, LookupError, RuntimeError):  # broken: up to there it is fine
            return


def _follow(file: BinaryIO) -> None:
    """Follow the machine that reads a pickle, with the steps that a value takes to hash in its place.

    All that is pushed is taken once, so only what is fetched from the memo can take more steps than the file has bytes.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    start, fetched = file.tell(), 0
    for opcode, argument, position in pickletools.genops(file):
        if (position or 0) - start > MAX_BYTES:
            raise Busy(f"its pickle is longer than {MAX_BYTES:,} bytes")
        if opcode.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
            fetched += memo[argument]
            if fetched > MAX_STEPS:
                raise Busy("its tuples hold each other too many times")
        elif opcode.name == "MARK":
            marks.append(len(stack))
        else:
            before = opcode.stack_before
            if pickletools.markobject in before:
                first = marks.pop() - before.index(pickletools.markobject)
            else:
                first = len(stack) - len(before)
            taken = stack[first:]
            del stack[first:]
            stack += [1 + sum(taken)] * len(opcode.stack_after)
