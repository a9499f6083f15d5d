from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.nn.utils import parametrize

from tests.backbones.hf_folders import KINDS
from tests.finetuning import networks
from tests.finetuning.test_training import make
from transfer.backbones import networks as real_networks
from transfer.backbones.blocks import cut_at, unflatten
from transfer.finetuning.adaptation import LowRank, choose_trained, list_weights, trained_tensors
from transfer.system.errors import UserError

pytestmark = pytest.mark.slow
ADAPTATIONS = ("lora:4", "bitfit")


def test_a_low_rank_update_of_a_convolution_is_two_convolutions() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(6, 10, 3, stride=2, padding=1, bias=False)
    update = LowRank(layer.weight, 4, generator)
    with torch.no_grad():
        x_NCHW = torch.randn(2, 6, 9, 11, generator=generator)
        assert torch.equal(update(layer.weight), layer.weight)
        update.up_OR.normal_(generator=generator)
        inner = conv2d(x_NCHW, update.down_RI.view(4, 6, 3, 3), stride=2, padding=1)
        expected = layer(x_NCHW) + conv2d(inner, update.up_OR.view(10, 4, 1, 1))
        found = conv2d(x_NCHW, update(layer.weight), stride=2, padding=1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_rank_above_that_of_a_weight_is_not_taken() -> None:
    weight = nn.Conv2d(32, 32, 3, groups=32).weight  # 32 filters of 9 numbers
    update = LowRank(weight, 9999, torch.Generator().manual_seed(0))
    assert (update.up_OR.shape, update.down_RI.shape) == ((32, 9), (9, 9))


@pytest.mark.parametrize("name", networks.BLOCKS)
def test_low_rank_updates_begin_with_the_frozen_network(name: str) -> None:
    network, training = make(name, adapt="lora:4")
    x_N3HW, _ = networks.images(12, 2)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.from_numpy(training.features(training.valid)), network(x_N3HW), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", networks.BLOCKS)
@pytest.mark.parametrize("adapt", ADAPTATIONS)
def test_the_network_with_the_trained_tensors_computes_what_was_trained(name: str, adapt: str) -> None:
    network, training = make(name, adapt=adapt)
    training.run()
    trained, before = trained_tensors(training.rest), dict(network.named_parameters())
    assert trained
    assert all(key in before for key in trained)
    assert any(not torch.equal(value, before[key]) for key, value in trained.items())
    network = copy.deepcopy(network)
    network.load_state_dict(trained, strict=False)
    x_N3HW, _ = networks.images(12, 2)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.from_numpy(training.features(training.valid)), network(x_N3HW), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("name", networks.BLOCKS)
def test_biases_alone_and_all_of_them_are_trained(name: str) -> None:
    _, training = make(name, adapt="bitfit")
    after = [key for key, _ in training.rest.named_parameters()]
    assert trained_tensors(training.rest).keys() == {key for key in after if key.endswith("bias")}
    frozen = {key: value.clone() for key, value in training.rest.named_parameters() if "bias" not in key}
    training.run()
    own = dict(training.rest.named_parameters())
    assert all(torch.equal(value, own[key]) for key, value in frozen.items())


@pytest.mark.parametrize("name", networks.BLOCKS)
def test_low_rank_updates_are_of_every_linear_layer_and_convolution(name: str) -> None:
    network, training = make(name, adapt="lora:4")
    matrices = {key for key, value in network.named_parameters() if value.ndim in (2, 4)}
    _, whole = make(name)
    assert trained_tensors(training.rest).keys() == matrices & trained_tensors(whole.rest).keys()
    assert len(training.parameters) == 2 * len(trained_tensors(training.rest)) + 2  # and the last layer's


@pytest.mark.parametrize("adapt", ADAPTATIONS)
def test_a_training_continues_where_another_was(adapt: str) -> None:
    _, straight = make("vit", adapt=adapt)
    straight.run()
    _, first = make("vit", adapt=adapt)
    kept: list[object] = []
    first.run(lambda: kept.append(copy.deepcopy(first.state())))
    _, second = make("vit", adapt=adapt)
    second.restore(*kept[1])  # type: ignore[misc]
    second.run()
    assert second.history == straight.history
    assert all(torch.equal(value, second.parameters[key]) for key, value in straight.parameters.items())


@pytest.mark.parametrize("adapt", ADAPTATIONS)
def test_networks_that_are_exported_are_trained_too(adapt: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    settings = {"config": transformers.AutoConfig.for_model("vit", **KINDS["vit"]).to_dict()}
    network = real_networks.cut("hf:vit", settings=settings)[0].requires_grad_(False).eval()
    [block] = [key for key, _ in network.named_modules() if key.endswith(".layers.1")]
    parts = cut_at(network, "hf:vit", block.removeprefix("network."), (64, 64))
    rest, x_N3HW = copy.deepcopy(parts.rest), torch.randn(3, 3, 64, 64)
    choose_trained(rest, adapt, list_weights(network), seed=0)
    for value in rest.parameters():
        if value.requires_grad:
            nn.init.normal_(value, std=0.1)
    maps = unflatten(parts.frozen(x_N3HW), parts.shapes)
    network.load_state_dict(trained_tensors(rest), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(rest(*maps), network(x_N3HW), rtol=1e-5, atol=1e-5)
    rest(*maps).sum().backward()
    assert sum(value.grad is not None for value in rest.parameters()) == sum(
        value.requires_grad for value in rest.parameters()
    )


def test_blocks_without_biases_are_refused() -> None:
    with pytest.raises(UserError, match="no biases to train; leave out `adapt='bitfit'`"):
        choose_trained(nn.Sequential(nn.Linear(2, 2, bias=False)), "bitfit", (), seed=0)


def test_nothing_is_changed_where_all_is_trained() -> None:
    blocks = nn.Sequential(nn.Linear(2, 2))
    choose_trained(blocks, "", list_weights(blocks), seed=0)
    assert not any(parametrize.is_parametrized(part) for part in blocks.modules())
    assert trained_tensors(blocks).keys() == {"0.weight", "0.bias"}
