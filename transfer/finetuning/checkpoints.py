"""Trainings in the store: the state of one under way, from which it continues, and the weights of a finished one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from safetensors import safe_open
from safetensors.torch import load, save

from transfer.cache import locks
from transfer.cache.store import MadeFile, Store, folder_name
from transfer.finetuning.training import Tensors
from transfer.system import files
from transfer.system.progress import Progress
from transfer.system.timer import now

KIND, FILE = "finetuned", "checkpoint"
NUMBERS = "transfer"

log = logging.getLogger(__name__)


class Resumable(Protocol):
    """A training that can be stopped, and continued by another process."""

    epoch: int
    step: int

    def run(self, save: Callable[[], None], on_progress: Progress) -> None:
        """Train to the end; `save` is called now and then."""

    def state(self) -> tuple[Tensors, dict[str, Any]]:
        """Return all that it continues from: tensors, and numbers as JSON."""

    def restore(self, tensors: Tensors, numbers: dict[str, Any]) -> None:
        """Continue where another one was."""

    def result(self) -> tuple[Tensors, dict[str, Any]]:
        """Return what is kept of a finished training: tensors, and numbers as JSON."""


class Checkpoint:
    """The state of a training in the store, replaced as a whole.

    Parameters
    ----------
    store : Store
    declared : dict
        What the training depends on.
    training : Resumable
    """

    def __init__(self, store: Store, declared: dict[str, Any], training: Resumable) -> None:
        self._folder = store.folder(KIND) / folder_name(declared)
        self._path, self._method = self._folder / FILE, declared["method"]
        self._lock = locks.hold_new(self._folder)
        self._training = training
        self._before_s, self._start = 0.0, now()

    @property
    def seconds(self) -> float:
        """Seconds spent on the training, in this process and in those before it whose work is used."""
        return self._before_s + now() - self._start

    def load(self) -> None:
        """Continue from what a process left that was stopped; what is damaged is as if it were not there."""
        try:
            data = memoryview(self._path.read_bytes())
        except FileNotFoundError:
            return
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            log.warning("a damaged checkpoint is left out, and training begins again: %s", self._path)
            return
        length = int.from_bytes(data[32:40], "little")
        numbers = json.loads(bytes(data[40 : 40 + length]))
        self._training.restore(load(bytes(data[40 + length :])), numbers["training"])
        self._before_s = numbers["seconds"]
        log.info(
            "%s: training continues after %d epochs and %d steps",
            self._method,
            self._training.epoch,
            self._training.step,
        )

    def save(self) -> None:
        """Write the state: temporary file, fsync, rename."""
        tensors, training = self._training.state()
        numbers = json.dumps({"training": training, "seconds": self.seconds}).encode()
        state = save({key: value.cpu().contiguous() for key, value in tensors.items()})
        data = b"".join([len(numbers).to_bytes(8, "little"), numbers, state])
        files.write(self._path, hashlib.sha256(data).digest() + data)

    def remove(self) -> None:
        """Delete it, once the training is finished and kept."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def finish(
    training: Resumable, store: Store, declared: dict[str, Any], made_on: str, on_progress: Progress
) -> MadeFile:
    """Train to the end, from where a run that was stopped had come, and keep the result.

    Parameters
    ----------
    training : Resumable
    store : Store
    declared : dict
        What the training depends on.
    made_on : str
        The machine and the way of computing.
    on_progress : Progress

    Returns
    -------
    MadeFile
        What `read_finished` reads; that of an earlier run if there is one.
    """
    if kept := store.find_made(KIND, declared):
        return kept
    checkpoint = Checkpoint(store, declared, training)
    checkpoint.load()
    training.run(checkpoint.save, on_progress)
    tensors, numbers = training.result()
    found = {key: value.cpu().contiguous() for key, value in tensors.items()}
    data = save(found, metadata={NUMBERS: json.dumps(numbers)})
    kept = store.keep(KIND, declared, data, checkpoint.seconds, made_on)
    checkpoint.remove()
    return kept


def read_finished(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors and the numbers that `finish` kept."""
    with safe_open(path, framework="pt") as file:
        numbers: dict[str, Any] = json.loads(file.metadata()[NUMBERS])
        return {key: file.get_tensor(key) for key in file.keys()}, numbers  # noqa: SIM118
