from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.finetuning.test_training import make
from transfer.cache.store import Store
from transfer.finetuning import training as training_module
from transfer.finetuning.checkpoints import FILE, KIND, Checkpoint, finish, read_finished
from transfer.system.progress import silent

pytestmark = pytest.mark.slow
DECLARED = {"method": "unfreeze:layer4"}
# Each child continues what the one before it left, and ends itself before a step, or within the writing of a file.
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tests.finetuning.test_training import make
from transfer.cache.store import Store
from transfer.finetuning import training
from transfer.finetuning.checkpoints import Checkpoint
torch.set_num_threads(1)
training.CHECKPOINT_S = 0.0
def die(*given): os.kill(os.getpid(), signal.SIGKILL)
done = []
for moment in range(10):
    child = os.fork()
    if child == 0:
        _, own = make("vit")
        checkpoint = Checkpoint(Store(Path(sys.argv[1])), {"method": "unfreeze:layer4"}, own)
        checkpoint.load()
        taken, read, fsync = [], own.train.read, os.fsync
        step = own._step
        def counted(*given):
            taken.append(given)
            return die() if len(taken) > 2 + moment % 2 else step(*given)
        if moment % 3 == 2:
            os.fsync = die
        own._step = counted
        own.run(checkpoint.save)
        os._exit(3)
    done.append(os.waitpid(child, 0)[1])
print(done)
"""


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as those that are killed: sums of several threads have other last bits
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_killed_at_ten_moments_it_ends_in_the_same_weights(tmp_path: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert killed.stdout == f"{[9] * 10}\n"
    _, straight = make("vit")
    straight.run()
    _, resumed = make("vit")
    checkpoint = Checkpoint(Store(tmp_path), DECLARED, resumed)
    checkpoint.load()
    assert resumed.epoch * resumed.steps_per_epoch + resumed.step > 8
    resumed.run(checkpoint.save)
    assert resumed.history == straight.history
    assert resumed.best == straight.best
    for name, value in straight.parameters.items():
        assert torch.equal(value, resumed.parameters[name]), name
        assert torch.equal(straight.best_tensors[name], resumed.best_tensors[name]), name


def test_a_damaged_checkpoint_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, training = make("vit")
    checkpoint = Checkpoint(Store(tmp_path), DECLARED, training)
    training.run(checkpoint.save)
    [path] = tmp_path.glob(f"{KIND}/*/{FILE}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    _, again = make("vit")
    with caplog.at_level(logging.WARNING):
        Checkpoint(Store(tmp_path), DECLARED, again).load()
    assert again.epoch == 0
    assert "damaged checkpoint" in caplog.text
    path.write_bytes(data[:20])
    Checkpoint(Store(tmp_path), DECLARED, again).load()
    assert again.epoch == 0


def test_what_is_finished_is_kept_with_its_history(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _, stopped = make("vit")
    before = Checkpoint(store, DECLARED, stopped)
    before._before_s = 1000.0
    stopped.run(before.save)
    _, training = make("vit")
    made = finish(training, store, DECLARED, "here", silent)
    assert 1000 <= made.seconds < 2000, "seconds of the run that was stopped count too"
    assert store.find_made(KIND, DECLARED) == made
    assert training.epoch == training.recipe.epochs
    assert not list(tmp_path.glob(f"{KIND}/*/{FILE}"))
    tensors, numbers = read_finished(made.path)
    assert numbers == {"best": training.best, "history": training.history}
    assert all(torch.equal(value, tensors[name]) for name, value in training.best_tensors.items())


def test_checkpoints_within_an_epoch_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, training = make("vit")
    training.run()
    monkeypatch.setattr(training_module, "CHECKPOINT_S", 0.0)
    _, often = make("vit")
    saved: list[int] = []
    often.run(lambda: saved.append(often.step))
    assert len(saved) == 20
    assert often.history == training.history
