from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.refusals import refusal
from transfer.config import RunConfig
from transfer.features import ray_pool
from transfer.features.plan import ClusterRequest, plan_extraction
from transfer.system.progress import silent
from transfer.system.timer import Stopwatch


@pytest.mark.parametrize(
    "on", ["", "rai", "ray://", "ray://host", "ray://host:port", "ray://a/b:1", "10.0.0.1:6379"]
)
def test_a_wrong_place_is_refused(on: str) -> None:
    assert "choose one of local, ray, ray://HOST:PORT" in refusal(RunConfig, on=on)


@pytest.mark.parametrize("on", ["local", "ray", "ray://host:10001", "ray://[::1]:10001"])
def test_a_place_is_taken(on: str) -> None:
    assert RunConfig(on=on).on == on


@pytest.mark.parametrize("settings", [{"workers": 2}, {"workers": 0, "on": "ray"}])
def test_workers_are_of_a_cluster(settings: dict[str, object]) -> None:
    assert "give how many of a cluster" in refusal(RunConfig, **settings)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))
    message = refusal(plan_extraction, RunConfig(store=tmp_path, on="ray"))
    assert message == "`on='ray'` needs ray; install it (pip install 'ray[client]')"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on", "address"), [("ray://127.0.0.1:1", None), ("ray", "127.0.0.1:1"), ("ray", "ray://127.0.0.1:1")]
)
def test_an_address_where_nothing_answers_is_refused_at_once(
    on: str, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    request = ClusterRequest(on=on, workers=None, engine="auto", precision="auto", device="cpu")
    with pytest.raises(ValueError, match="no Ray cluster answers at .*127.0.0.1:1 .Connection refused"):
        ray_pool.connected(request, Stopwatch(), silent).__enter__()
