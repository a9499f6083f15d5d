from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from transfer.backbones import pickle_guard, weights
from transfer.system.errors import UserError


def trained() -> dict[str, Any]:
    """A checkpoint: a network, and an optimizer whose groups share a tuple."""
    network = models.resnet18()
    groups = [{"params": [parameter]} for parameter in network.parameters()]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    return {"state_dict": network.state_dict(), "optimizer": optimizer.state_dict(), "sizes": [(1, 2)] * 100}


def doubled(levels: int) -> Any:
    value: Any = (1,)
    for _ in range(levels):
        value = (value, value)
    return value


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_checkpoints_pass(tmp_path: Path, archive: bool) -> None:
    torch.save(trained(), tmp_path / "w.pth", _use_new_zipfile_serialization=archive)
    pickle_guard.list_names(tmp_path / "w.pth")


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_tuples_that_take_centuries_to_hash_are_reported_at_once(tmp_path: Path, archive: bool) -> None:
    # Pickled as a value, since as a key it would never have been made; either way it could become one.
    torch.save({"a": doubled(60)}, tmp_path / "w.pth", _use_new_zipfile_serialization=archive)
    assert (tmp_path / "w.pth").stat().st_size < 3_000
    with pytest.raises(pickle_guard.Busy, match="hold each other"):
        pickle_guard.list_names(tmp_path / "w.pth")


def test_wide_tuples_count_too(tmp_path: Path) -> None:
    thousand = (1,) * 1000
    path = tmp_path / "w.pth"
    path.write_bytes(pickle.dumps(((thousand,) * 1000,) * 2, protocol=2))
    with pytest.raises(pickle_guard.Busy, match="hold each other"):
        pickle_guard.list_names(path)


def test_every_one_of_the_pickles_in_an_old_file_counts(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    with (tmp_path / "w.pth").open("rb") as file:
        first = [pickle.load(file) for _ in range(4)]  # the numbers, the system and the object are no tensors
    names = pickle.dumps(doubled(60), protocol=2)
    (tmp_path / "w.pth").write_bytes(b"".join(pickle.dumps(one, protocol=2) for one in first) + names)
    with pytest.raises(pickle_guard.Busy):
        pickle_guard.list_names(tmp_path / "w.pth")


@pytest.mark.slow
def test_a_pickle_longer_than_those_of_networks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps(list(range(1_000_000)), protocol=2))
    with pytest.raises(pickle_guard.Busy, match="longer than 2,000,000 bytes"):
        pickle_guard.list_names(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x80", b"PK\x03\x04", b"no pickle", b"\x80\x02h\x00.", b"\x80\x02s."),
        b"\x80\x05\x96" + b"\x7f" * 8,  # an array of exabytes
    ],
)
def test_what_is_broken_is_left_to_torch(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(data)
    pickle_guard.list_names(tmp_path / "w.pth")


def test_a_torch_whose_archives_cant_be_looked_into_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": 1}, tmp_path / "w.pth")
    monkeypatch.setattr(pickle_guard, "_Reader", None)
    with pytest.raises(
        UserError, match=r"w\.pth can't be read as weights: torch .*; save it as \.safetensors"
    ):
        weights.load(tmp_path / "w.pth")


def test_this_torch_lets_its_archives_be_looked_into() -> None:
    assert pickle_guard._Reader is not None
