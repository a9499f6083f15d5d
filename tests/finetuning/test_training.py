from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from tests.finetuning import networks
from transfer.finetuning import training as training_module
from transfer.finetuning.adaptation import choose_trained, list_weights
from transfer.finetuning.recipe import Recipe
from transfer.finetuning.training import Training

pytestmark = pytest.mark.slow
RECIPE = Recipe(epochs=4, batch=8, lr_blocks=3e-4)


def make(
    name: str, recipe: Recipe = RECIPE, count: int = 40, *, adapt: str = ""
) -> tuple[nn.Module, Training]:
    network = networks.build(name)
    parts = networks.cut(network, name)
    train, valid = networks.images(count, 1), networks.images(12, 2)
    return network, Training(
        parts.rest,
        networks.head(network, *train),
        recipe,
        networks.rows(parts, *train),
        networks.rows(parts, *valid),
        choose=partial(choose_trained, adapt=adapt, weights=list_weights(network), seed=recipe.seed),
    )


def train_whole(
    network: nn.Module, given: Training, name: str, count: int = 40
) -> tuple[list[float], torch.Tensor]:
    """The plain way: every image through the whole network at each step, all but its last blocks frozen."""
    network, head, recipe = copy.deepcopy(network), copy.deepcopy(given.head), given.recipe
    for key, value in network.named_parameters():
        value.requires_grad_(key in given.parameters)
    groups = []
    for parameters, lr in ((network.parameters(), recipe.lr_blocks), (head.parameters(), recipe.lr_head)):
        own = [one for one in parameters if one.requires_grad]
        groups += [
            {"params": [one for one in own if one.ndim > 1], "lr": lr, "weight_decay": recipe.weight_decay},
            {"params": [one for one in own if one.ndim == 1], "lr": lr, "weight_decay": 0.0},
        ]
    optimizer = torch.optim.AdamW(groups)
    per_epoch = count // recipe.batch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: recipe.factor(step, recipe.epochs * per_epoch)
    )
    x_N3HW, y_N = networks.images(count, 1)
    losses = []
    for epoch in range(recipe.epochs):
        order = np.random.default_rng([recipe.seed, epoch]).permutation(count)
        own = []
        for places in order.reshape(per_epoch, recipe.batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(head(network(x_N3HW[places])), torch.from_numpy(y_N[places]))
            loss.backward()
            optimizer.step()
            schedule.step()
            own.append(loss.item())
        losses.append(float(np.mean(own)))
    with torch.no_grad():
        return losses, head(network(networks.images(12, 2)[0]))


@pytest.mark.parametrize("adapt", ["", "bitfit"])
@pytest.mark.parametrize("name", networks.BLOCKS)
def test_twenty_steps_on_maps_equal_those_of_the_whole_network(name: str, adapt: str) -> None:
    network, training = make(name, adapt=adapt)
    losses, logits_NC = train_whole(network, training, name)
    training.run()
    assert [one["loss"] for one in training.history][1:] == pytest.approx(losses, abs=1e-4)
    with torch.no_grad():
        own_NC = training.head(torch.from_numpy(training.features(training.valid)))
    torch.testing.assert_close(own_NC, logits_NC, rtol=1e-3, atol=1e-3)
    assert (own_NC.argmax(1) == logits_NC.argmax(1)).all()


@pytest.mark.parametrize("name", networks.BLOCKS)
def test_the_network_that_was_cut_is_left_as_it_is(name: str) -> None:
    network, training = make(name, replace(RECIPE, epochs=1))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    training.run()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert any(not torch.equal(value, before[key]) for key, value in training.rest.named_parameters())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    found = []
    for seed in (0, 0, 1):
        _, training = make("vit", replace(RECIPE, seed=seed))
        training.run()
        found.append(training.parameters)
    assert all(torch.equal(one, found[1][key]) for key, one in found[0].items())
    assert any(not torch.equal(one, found[2][key]) for key, one in found[0].items())


def test_each_epoch_draws_one_view_of_each_image_and_the_images_alone_are_drawn_as_ever() -> None:
    _, training = make("vit")
    orders = [np.concatenate(training._batches())]
    training.train = replace(training.train, views=3)
    for epoch in (0, 0, 1):
        training.epoch = epoch
        orders.append(np.concatenate(training._batches()))
    assert (orders[0] == np.random.default_rng([0, 0]).permutation(40)).all()
    assert (orders[1] % 40 == orders[0]).all()
    assert (orders[1] == orders[2]).all()
    assert (orders[2] != orders[3]).any()
    assert all(set((order // 40).tolist()) == {0, 1, 2} for order in orders[1:])
    assert all(sorted(order % 40) == list(range(40)) for order in orders)


def test_no_convolution_of_a_gpu_takes_tf32_unasked() -> None:
    _, training = make("vit")
    seen: dict[str, set[bool]] = {"forward": set(), "backward": set()}
    training.rest.register_forward_hook(lambda *_: seen["forward"].add(torch.backends.cudnn.allow_tf32))
    training.head.register_full_backward_hook(
        lambda *_: seen["backward"].add(torch.backends.cudnn.allow_tf32)
    )
    assert torch.backends.cudnn.allow_tf32
    training.run()
    assert seen == {"forward": {False}, "backward": {False}}
    assert torch.backends.cudnn.allow_tf32


def test_parts_of_a_batch_add_up_to_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = make("vit")
    monkeypatch.setattr(training_module, "fitting_part", lambda *_: 3)
    _, parts = make("vit")
    whole.run()
    parts.run()
    losses = [[one["loss"] for one in done.history[1:]] for done in (whole, parts)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_the_epoch_that_does_best_on_validation_images_is_kept_and_the_beginning_is_one() -> None:
    _, training = make("vit", replace(RECIPE, lr_blocks=1.0, lr_head=1.0))  # only worse
    begun = {key: value.detach().clone() for key, value in training.parameters.items()}
    training.run()
    scores = [one["macro_f1"] for one in training.history]
    assert scores[training.best] == max(scores)
    assert len(scores) == 5
    training.take_best()
    if training.best == 0:
        assert all(torch.equal(value, begun[key]) for key, value in training.parameters.items())
    with torch.no_grad():
        predicted_N = training.head(torch.from_numpy(training.features(training.valid))).argmax(1)
    assert (predicted_N.numpy() == training.valid.y_N).mean() == pytest.approx(
        training.history[training.best]["accuracy"]
    )


def test_bf16_comes_close_to_fp32() -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        _, training = make("vit", replace(RECIPE, precision=precision))
        training.run()
        losses.append([one["loss"] for one in training.history[1:]])
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def test_learning_rates_rise_and_then_fall_to_nearly_nothing() -> None:
    factors = [RECIPE.factor(step, 100) for step in range(100)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert max(factors) == 1.0
    assert all(later < earlier for earlier, later in itertools.pairwise(factors[10:]))
    assert factors[-1] < 0.001


def test_progress_says_epoch_loss_and_validation_score() -> None:
    _, training = make("vit", replace(RECIPE, epochs=2))
    said: list[tuple[object, ...]] = []
    training.run(on_progress=lambda *given: said.append(given))
    assert said[0][:3] == ("train", 0, 10)
    assert said[-1][1:3] == (10, 10)
    assert "epoch 2 of 2, loss " in str(said[-2][3])
    assert "macro f1" in str(said[-2][3])
