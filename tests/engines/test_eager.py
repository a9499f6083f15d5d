from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from tests.engines.samples import BATCH, engine_of, features, network_of, photographs, plan_of
from transfer.engines.eager import Eager
from transfer.metrics import cosines
from transfer.system.errors import UserError

with_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
def test_the_size_of_the_batch_changes_little(batch: int) -> None:
    x = photographs(4)
    whole = features(engine_of(), x)
    engine = engine_of(batch=batch)
    parts = np.concatenate([features(engine, x[i : i + batch]) for i in range(0, 4, batch)])
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_network_is_left_as_it_was() -> None:
    network = network_of("resnet18")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features(Eager(network, plan_of()), photographs(2))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert network.conv1.weight.is_contiguous()


class Scarce(Eager):
    """A device with memory for so many images."""

    room = 3

    def _features(self, x_NHW3: torch.Tensor) -> torch.Tensor:
        if len(x_NHW3) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._features(x_NHW3)


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    x = photographs(BATCH)
    engine = Scarce(network_of("resnet18"), plan_of())
    with caplog.at_level(logging.WARNING):
        found = features(engine, x)
    assert [record.getMessage() for record in caplog.records] == [
        "the cpu device is out of memory; continuing in batches of 4",
        "the cpu device is out of memory; continuing in batches of 2",
    ]
    np.testing.assert_allclose(found, features(engine_of(), x), rtol=1e-4, atol=1e-5)
    caplog.clear()
    np.testing.assert_array_equal(features(engine, x), found)  # it stays halved
    assert not caplog.records


@pytest.mark.slow
def test_one_image_that_does_not_fit_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scarce, "room", 0)
    with pytest.raises(UserError, match=r"one image needs more memory.*`size`.*`device=.cpu"):
        features(Scarce(network_of("resnet18"), plan_of()), photographs(1))


@with_cuda
@pytest.mark.parametrize("engine", ["eager", "compile"])
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("bf16", 0.99), ("fp16", 0.999)])
def test_cuda_gives_the_features_of_the_processor(engine: str, precision: str, least: float) -> None:
    from transfer.engines import build

    x = photographs(BATCH)
    exact = features(engine_of(), x)
    ready = build(network_of("resnet18"), plan_of(engine, precision, device="cuda"), x.shape[1:3])
    found = features(ready, x)
    assert found.dtype == np.float32
    assert cosines(found, exact).min() >= least
    np.testing.assert_array_equal(features(ready, x[:3]), found[:3])


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=with_cuda)])
def test_pixels_that_lie_on_the_device_give_the_same_features(device: str) -> None:
    ready = Eager(network_of("resnet18"), plan_of(device=device))
    x = photographs(3)
    on_device = ready.submit(torch.from_numpy(x).to(device))()
    np.testing.assert_array_equal(on_device, features(ready, x))


@with_cuda
def test_batches_in_flight_on_cuda_are_not_mixed_up() -> None:
    ready = Eager(network_of("resnet18"), plan_of(device="cuda"))
    batches = [photographs(BATCH, seed=seed) for seed in range(ready.in_flight)]
    apart = [features(ready, x) for x in batches]
    together = [wait() for wait in [ready.submit(x) for x in batches]]
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)


@with_cuda
def test_a_batch_that_cuda_has_no_memory_for_is_halved() -> None:
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0]
    held = torch.empty(free - 600_000_000, dtype=torch.uint8, device="cuda")
    ready = Eager(network_of("resnet18"), plan_of(device="cuda", batch=2048))
    assert features(ready, photographs(4)).shape == (4, 512)
    assert ready.batch < 2048
    del held


@with_cuda
def test_cudnn_is_on_tries_no_algorithms_and_fp32_is_true_fp32() -> None:
    seen = []
    ready = Eager(network_of("resnet18"), plan_of(device="cuda"))
    real = ready._forward

    def forward(x_NHW3: torch.Tensor) -> torch.Tensor:
        cudnn = torch.backends.cudnn
        seen.append((cudnn.enabled, cudnn.benchmark, cudnn.allow_tf32))
        return real(x_NHW3)

    ready._forward = forward
    features(ready, photographs(2))
    assert seen == [(True, False, False)]
