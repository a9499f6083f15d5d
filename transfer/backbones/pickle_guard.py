"""Pickles of tensors: how long one would keep its reader busy, and what stands in for the objects beside the tensors.

`torch.load(weights_only=True)` runs no code. But a tuple that holds one tuple twice, which holds another twice, and so
on, takes five bytes a level and doubles the time to hash it: as the key of a dictionary, 60 levels take centuries, in
which Python answers to nothing.

A checkpoint often holds more than tensors: arguments, configurations, scores. Their classes are not imported. Each is
read as a plain dictionary of its items and attributes.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch

from transfer.backbones.formats import ARCHIVE

# The one reader of torch's archives that is sure to see what `torch.load` sees: another one could be shown something
# else. It is not public, so a release without it is refused in one line.
_Reader = getattr(torch._C, "PyTorchFileReader", None)

# The state dict of a thousand layers takes half a megabyte and fetches its names some thousand times.
MAX_BYTES = 2_000_000
MAX_STEPS = 1_000_000
# For each object torch goes through all classes that may be read.
MAX_OBJECTS, MAX_CLASSES = 50_000, 100
# Files before torch 1.6 begin with five pickles: a number, a version, the system, the object and the names of its
# tensors.
LEGACY_PICKLES = 5
# Plain values are pickled as calls of these: NumPy scalars and arrays, paths, times. Any other call is refused.
_VALUES = re.compile(
    r"(numpy|pathlib|datetime|decimal|fractions|uuid)\..+"
    r"|collections\.(defaultdict|deque)|types\.SimpleNamespace|copyreg\._reconstructor"
)
# Modules that pickles still call as Python 2 did.
_TODAYS = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class Busy(ValueError):
    """A pickle that is longer, or takes more steps, than those of state dicts."""


class UnsupportedTorch(RuntimeError):
    """A PyTorch that lacks what checking takes."""


def list_names(path: Path) -> frozenset[str]:
    """List what the pickles of a file name, unless it would keep `torch.load` busy; other faults are torch's to find.

    Returns
    -------
    frozenset of str
        Full names of classes and functions.

    Raises
    ------
    Busy
        For a file that would.
    UnsupportedTorch
        Where the installed PyTorch gives no way to look into an archive.
    """
    named: set[str] = set()
    with path.open("rb") as file:
        archive = file.read(len(ARCHIVE)) == ARCHIVE
        file.seek(0)
        try:
            if archive:
                if _Reader is None:
                    raise UnsupportedTorch(
                        f"torch {torch.__version__} can't look into it; save it as .safetensors"
                    )
                _follow(io.BytesIO(_Reader(str(path)).get_record("data.pkl")), named)
            else:
                for _ in range(LEGACY_PICKLES):
                    _follow(file, named)
        except (Busy, UnsupportedTorch):
            raise
        except (ValueError, LookupError, RuntimeError, MemoryError):
            pass  # broken, as a length of exabytes is: up to there it is fine
    return frozenset(named)


def placeholders(named: Iterable[str]) -> list[Any]:
    """Return what `torch.serialization.safe_globals` takes so that objects of classes are read without the classes.

    An object is read as an `OrderedDict` with its items and attributes, and the name of its class as `class_name`:
    torch sets items on plain dictionaries alone. Plain values are forgotten. Whatever else a pickle calls raises
    `pickle.UnpicklingError`.
    """
    return [(_Value, "transfer.value")] + [
        (_made(name) if _VALUES.fullmatch(name) else _Class(name, (), {"__new__": _empty}), name)
        for name in named
    ]


class _Class(type):
    """A class whose objects can be made, as pickles make them, and which can't be called."""

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        raise pickle.UnpicklingError(f"calls {cls.__name__}")


def _empty(cls: type, *_: object) -> OrderedDict[Any, Any]:
    made: OrderedDict[Any, Any] = OrderedDict()
    made.class_name = cls.__name__  # type: ignore[attr-defined]
    return made


class _Value:
    """A plain value that was not kept."""

    def __setstate__(self, state: object) -> None:
        pass


def _made(name: str) -> Callable[..., object]:
    """Return what is called in place of a class or function of plain values."""
    kind = {"collections.defaultdict": OrderedDict, "collections.deque": list}.get(name, _Value)
    return lambda *_: kind()


def _follow(file: BinaryIO, named: set[str]) -> None:
    """Follow the machine that reads a pickle, with the steps that a value takes to hash in its place.

    The classes and functions that it names are added to `named`. All that is pushed is taken once, so only what is
    fetched from the memo can take more steps than the file has bytes.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    start, fetched, objects = file.tell(), 0, 0
    for opcode, argument, position in pickletools.genops(file):
        if (position or 0) - start > MAX_BYTES:
            raise Busy(f"its pickle is longer than {MAX_BYTES:,} bytes")
        if opcode.name in ("GLOBAL", "NEWOBJ", "REDUCE", "BUILD"):
            objects += 1
            if opcode.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                named.add(f"{_TODAYS.get(module, module)}.{name}")
            if objects > MAX_OBJECTS or len(named) > MAX_CLASSES:
                raise Busy(f"it has more than {MAX_OBJECTS:,} objects or {MAX_CLASSES} classes")
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
