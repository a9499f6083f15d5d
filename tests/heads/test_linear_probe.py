from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from tests.heads.test_batched_adam import LEARNING_RATES, features, train_alone
from tests.heads.test_flushing import count_subnormal
from tests.heads.test_linear_probe_classifier import unequal_features
from transfer.config import RunConfig
from transfer.heads import linear_probe
from transfer.heads.batched_adam import LayerStack
from transfer.heads.linear_probe import FineTuneSearch
from transfer.heads.linear_probe_classifier import FineTune
from transfer.heads.registry import METHODS
from transfer.system.hardware import usable_cores

# Three epochs at a constant rate, the last layer kept.
PLAIN: dict[str, Any] = {
    "epochs": 3,
    "min_steps": 0,
    "cosine": False,
    "halve": False,
    "extend": False,
}


def test_a_search_holds_what_single_fits_would() -> None:
    x, y = features(260, 30, 5)
    search = FineTuneSearch(**PLAIN, lr=LEARNING_RATES, weight_decay=(0.0, 0.1), seed=4).fit(
        x[:200], y[:200], x[200:], y[200:]
    )
    each = search.predict_each(x)
    assert [row["params"] for row in search.cv_results_] == [
        {"lr": lr, "weight_decay": decay, "class_weight": None}
        for lr in LEARNING_RATES
        for decay in (0.0, 0.1)
    ]
    for row, predicted in zip(search.cv_results_, each, strict=True):
        alone = FineTune(**row["params"], epochs=3, seed=4).fit(x[:200], y[:200])
        np.testing.assert_array_equal(predicted, alone.predict(x))
        assert row["accuracy"] == pytest.approx((predicted[200:] == y[200:].numpy()).mean())


def test_a_search_weighs_classes_as_single_fits_do() -> None:
    x, y = unequal_features()
    grid = {"lr": (1e-2, 1e-1), "weight_decay": (0.0,), "class_weight": (None, "balanced")}
    search = FineTuneSearch(**PLAIN | {"epochs": 10}, **grid).fit(x, y, x, y)
    rarest = (y == 2).numpy()
    recalls = {}
    for row, predicted in zip(search.cv_results_, search.predict_each(x), strict=True):
        alone = FineTune(**row["params"], epochs=10).fit(x, y)
        np.testing.assert_array_equal(predicted, alone.predict(x))
        recalls[row["params"]["lr"], row["params"]["class_weight"]] = (predicted[rarest] == 2).mean()
    assert all(recalls[lr, "balanced"] > recalls[lr, None] for lr in grid["lr"])
    assert search.best_estimator_.class_weight == search.best_params_["class_weight"]


def test_seeds_are_rows_of_their_own_and_the_setting_is_chosen_by_their_mean() -> None:
    x, y = features(260, 5, 5)
    x_valid, y_valid = x[200:], y[200:]
    search = FineTuneSearch(**PLAIN, lr=LEARNING_RATES, weight_decay=(0.0, 0.1), seed=4, n_seeds=3).fit(
        x[:200], y[:200], x_valid, y_valid
    )
    assert [row["params"] for row in search.cv_results_] == [
        {"lr": lr, "weight_decay": decay, "class_weight": None, "seed": seed}
        for lr in LEARNING_RATES
        for decay in (0.0, 0.1)
        for seed in (4, 5, 6)
    ]
    for row, predicted in zip(search.cv_results_, search.predict_each(x), strict=True):
        np.testing.assert_array_equal(
            predicted, FineTune(**row["params"], epochs=3).fit(x[:200], y[:200]).predict(x)
        )
    scores = np.array([row["macro_f1"] for row in search.cv_results_]).reshape(8, 3)
    setting = scores.mean(1).argmax()
    assert search.best_params_ == search.cv_results_[3 * setting + scores[setting].argmax()]["params"]
    np.testing.assert_array_equal(
        search.predict(x), FineTune(**search.best_params_, epochs=3).fit(x[:200], y[:200]).predict(x)
    )


def test_one_lucky_seed_does_not_choose_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.9, 0.1, 0.6, 0.7])  # two settings of two seeds: the luckiest, and the better ones
    monkeypatch.setattr(
        "transfer.heads.base.validation_scores",
        lambda y, predicted: {"accuracy": 0.5, "macro_f1": next(scores)},
    )
    x, y = features(40, 4, 2)
    search = FineTuneSearch(**PLAIN, lr=(1e-3, 1e-2), weight_decay=(0.0,), n_seeds=2).fit(x, y, x, y)
    assert search.best_params_ == {"lr": 1e-2, "weight_decay": 0.0, "class_weight": None, "seed": 1}


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("n_seeds", [1, 2])
def test_settings_that_were_dropped_are_rows_of_fewer_steps_and_never_chosen(
    n_seeds: int, cosine: bool
) -> None:
    x, y = features(200, 4, 5)
    (x_train, y_train), (x_valid, y_valid) = (x[:100], y[:100]), (x[100:], y[100:])
    grid = {"lr": (1e-3, 1e-2, 1e-1), "weight_decay": (0.0, 1.0), "class_weight": (None, "balanced")}
    search = FineTuneSearch(
        **grid, n_seeds=n_seeds, epochs=4, min_steps=12, batch_size=32, cosine=cosine, extend=False
    )
    search.fit(x_train, y_train, x_valid, y_valid)
    for row, predicted in zip(search.cv_results_, search.predict_each(x), strict=True):
        assert row["params"].get("cosine_steps") == (16 if cosine else None)
        alone = FineTune(**row["params"], batch_size=32).fit(x_train, y_train)
        np.testing.assert_array_equal(predicted, alone.predict(x))
        scored = f1_score(y_valid, alone.predict(x_valid), average="macro", zero_division=0)
        assert row["macro_f1"] == pytest.approx(scored)
    steps = [row["params"]["steps"] for row in search.cv_results_]
    assert {n: steps.count(n) for n in steps} == {4: 6 * n_seeds, 8: 3 * n_seeds, 16: 3 * n_seeds}
    best = search.best_estimator_
    assert best.steps == search.best_params_["steps"] == 16
    alone = FineTune(**search.best_params_, batch_size=32).fit(x_train, y_train)
    np.testing.assert_allclose(best.coef_, alone.coef_, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("select", "expected"), [("accuracy", None), ("macro_f1", "balanced")])
def test_settings_go_on_by_a_loss_that_counts_rows_or_classes_alike(
    select: str, expected: str | None
) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [180, 20])
    x = (rng.normal(size=(200, 4)) + y[:, None] * 0.8).astype(np.float32)
    search = FineTuneSearch(class_weight=(None, "balanced"), select=select, extend=False).fit(x, y, x, y)
    on = {row["params"]["class_weight"] for row in search.cv_results_ if row["params"]["steps"] == 500}
    assert on == {expected}


@pytest.mark.slow
def test_few_rows_are_trained_for_as_many_steps_as_more_rows_and_many_rows_for_epochs() -> None:
    x, y = features(700, 5, 2)
    for n_rows, n_steps in ((100, 40), (700, 60)):
        search = FineTuneSearch(batch_size=35, epochs=3, min_steps=40).fit(x[:n_rows], y[:n_rows], x, y)
        assert search.best_params_["cosine_steps"] == n_steps


def test_the_best_learning_rate_at_an_edge_is_looked_for_beyond() -> None:
    x, y = features(400, 10, 5)
    search = FineTuneSearch(lr=(1e-4, 1e-3), weight_decay=(0.0,), min_steps=60, epochs=1)
    search.fit(x[:200], y[:200], x[200:], y[200:])
    assert search.extended_["lr"][0] == 1e-2
    assert search.best_params_["lr"] > 1e-3


@pytest.mark.parametrize("known", [(0, 1, 2), (0, 2, 3), (3,)])
def test_validation_rows_of_a_class_without_training_rows_count_as_missed(known: tuple[int, ...]) -> None:
    x, y = features(300, 10, 4)
    trained, scored = np.isin(y, (0, 1, 2)), np.isin(y, (*known, 3))
    search = FineTuneSearch(min_steps=40, epochs=1)
    search.fit(x[trained], y[trained], x[scored], y[scored])
    for row, predicted in zip(search.cv_results_, search.predict_each(x[scored]), strict=True):
        expected = f1_score(y[scored], predicted, average="macro", zero_division=0)
        assert row["macro_f1"] == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("n_cores", [1, 2, 5])
def test_the_choice_does_not_depend_on_the_number_of_cores(
    n_cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = features(260, 12, 5)
    data = (x[:180], y[:180], x[180:], y[180:])
    searches = []
    for cores in (3, n_cores):
        monkeypatch.setattr(linear_probe.torch, "get_num_threads", lambda cores=cores: cores)
        searches.append(FineTuneSearch(min_steps=60, epochs=1, class_weight=(None, "balanced")).fit(*data))
        monkeypatch.undo()
    one, other = searches
    assert one.best_params_ == other.best_params_
    np.testing.assert_allclose(one.best_estimator_.coef_, other.best_estimator_.coef_, atol=1e-5)


@pytest.mark.slow
def test_splits_are_fitted_as_each_would_be_alone() -> None:
    x, y = features(300, 10, 5)
    rng = np.random.default_rng(0)
    splits = [tuple(np.split(rng.permutation(300)[:250], [150])) for _ in range(3)]
    search = FineTuneSearch(min_steps=40, epochs=1, class_weight=(None, "balanced"))
    fitted = search.fit_splits(x, y, splits)
    assert not hasattr(search, "best_params_")
    for (train, valid), one in zip(splits, fitted, strict=True):
        alone = FineTuneSearch(**search.get_params()).fit(x[train], y[train], x[valid], y[valid])
        assert one.best_params_ == alone.best_params_
        np.testing.assert_array_equal(one.predict(x), alone.predict(x))
        np.testing.assert_allclose(one.best_estimator_.coef_, alone.best_estimator_.coef_, atol=1e-5)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor does not flush")
def test_no_subnormal_number_is_left_where_layers_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(300, 40, 4)
    centres = torch.stack([x[y == c].mean(0) for c in range(4)])
    x = 10 * x + 100 * centres[y]  # so well apart that squared gradients become subnormal
    stacks: list[LayerStack] = []
    train = LayerStack.train
    monkeypatch.setattr(LayerStack, "train", lambda stack, n: (stacks.append(stack), train(stack, n)))

    def count(stack: LayerStack) -> int:
        return sum(count_subnormal(part) for part in vars(stack._weights).values())

    search = METHODS["fc-lab"].build(RunConfig(data="x", device="cpu", epochs=20))
    search.fit(x, y, x, y)
    FineTune(lr=1e-2, standardize=False, epochs=20).fit(x, y)
    assert len(stacks) > 1
    assert [count(stack) for stack in stacks] == [0] * len(stacks)
    plain = LayerStack(x, y, 4, lr_S=[1e-2], weight_decay_S=[0.0], batch_size=128, seed=0)
    plain.train(20)
    assert count(plain) > 0


def test_the_methods_keep_to_what_the_user_gives() -> None:
    config = {"data": "x", "device": "cpu"}
    lab, own = (METHODS[name].build(RunConfig(**config)) for name in ("fc-lab", "fc"))
    assert lab.get_params()["lr"] == (1e-5, 1e-4, 1e-3, 1e-2)
    assert (lab.epochs, lab.min_steps, lab.halve, lab.cosine, lab.extend) == (
        10,
        0,
        False,
        False,
        False,
    )
    assert (lab.standardize, lab.weight_decay, lab.class_weight) == (False, (0.0,), (None,))
    assert own.get_params() == FineTuneSearch(class_weight=(None, "balanced"), device="cpu").get_params()
    assert own.min_steps == 500  # also where epochs are given: few of them would be a method not trained out
    lab, own = (
        METHODS[name].build(RunConfig(**config, lr=(0.5,), epochs=7, select="accuracy"))
        for name in ("fc-lab", "fc")
    )
    for search in (lab, own):
        assert (search.lr, search.epochs) == ((0.5,), 7)
        assert search.class_weight == (None,)


def test_the_lab_protocol_is_the_usual_loop_of_adam() -> None:
    x, y = features(300, 20, 4)
    search = METHODS["fc-lab"].build(RunConfig(data="x", device="cpu", epochs=2, seed=3)).fit(x, y, x, y)
    for row, predicted in zip(search.cv_results_, search.predict_each(x), strict=True):
        layer = train_alone(
            x,
            y,
            4,
            lr=row["params"]["lr"],
            weight_decay=0.0,
            epochs=2,
            batch_size=128,
            seed=3,
            class_weight=None,
        )
        assert (layer(x).argmax(1).numpy() == predicted).mean() > 0.99


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"n_seeds": 0}, {"select": "loss"}])
def test_a_search_names_what_is_wrong(wrong: dict[str, object]) -> None:
    x, y = features(20, 4, 2)
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        FineTuneSearch(**wrong).fit(x, y, x, y)


def test_a_gpu_is_given_one_split_at_a_time() -> None:
    assert FineTuneSearch(device="cuda")._n_workers(1000) == 1
    assert FineTuneSearch(device="cpu")._n_workers(1000) == usable_cores()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_trains_the_same_layers_on_several_splits() -> None:
    x, y = features(300, 64, 6)
    splits = [(np.arange(i, 300, 2), np.arange(1 - i, 300, 2)) for i in (0, 1)] * 2
    for on_cpu, on_cuda in zip(
        *(FineTuneSearch(device=device).fit_splits(x, y, splits) for device in ("cpu", "cuda")), strict=True
    ):
        np.testing.assert_allclose(on_cuda.best_estimator_.coef_, on_cpu.best_estimator_.coef_, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_takes_whole_learning_rates() -> None:
    x, y = features(300, 64, 6)
    on_cpu, on_cuda = (FineTune(lr=1, device=device).fit(x, y) for device in ("cpu", "cuda"))
    assert (on_cpu.predict(x) == on_cuda.predict(x)).mean() > 0.95


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_trains_the_same_layer() -> None:
    x, y = features(300, 64, 6)
    on_cpu = FineTuneSearch(device="cpu").fit(x[:200], y[:200], x[200:], y[200:])
    on_cuda = FineTuneSearch(device="cuda").fit(x[:200], y[:200], x[200:], y[200:])
    np.testing.assert_allclose(on_cuda.best_estimator_.coef_, on_cpu.best_estimator_.coef_, atol=1e-4)


@pytest.mark.exhaustive
def test_the_lab_features_are_learned(boat_features: dict[str, np.ndarray]) -> None:
    search = FineTuneSearch(class_weight=(None, "balanced")).fit(
        boat_features["x_train"], boat_features["y_train"], boat_features["x_valid"], boat_features["y_valid"]
    )
    predicted = search.predict(boat_features["x_test"])
    assert (predicted == boat_features["y_test"]).mean() > 0.88
    assert f1_score(boat_features["y_test"], predicted, average="macro", zero_division=0) >= 0.65


@pytest.mark.slow
def test_the_learning_curve_of_a_setting_ends_in_its_scores() -> None:
    x, y = features(300, 6, 3)
    search = FineTuneSearch(lr=(1e-3, 1e-2, 1e-1), min_steps=400).fit(x[:250], y[:250], x[250:], y[250:])
    chosen = search.cv_results_[search.best_index_]
    assert chosen["curve"]["step"] == [50, 100, 150, 200, 250, 300, 350, 400]
    for row in search.cv_results_:
        assert row["curve"]["step"][-1] == row["params"]["steps"]
        assert {len(values) for values in row["curve"].values()} == {len(row["curve"]["step"])}
        for name in ("accuracy", "macro_f1"):
            assert row["curve"][name][-1] == pytest.approx(row[name])
    assert any(row["params"]["steps"] < 400 for row in search.cv_results_)


def test_where_points_would_take_time_only_those_that_are_scored_anyhow_are_kept() -> None:
    x, y = features(300, 6, 3)
    grid = {"lr": (1e-2, 1e-1), "extend": False, "batch_size": 32}
    search = FineTuneSearch(**grid, min_steps=40).fit(x[:100], y[:100], x[100:], y[100:])
    assert search.cv_results_[search.best_index_]["curve"]["step"] == [10, 20, 40]
    to_the_end = FineTuneSearch(**grid, min_steps=40, halve=False).fit(x[:100], y[:100], x[100:], y[100:])
    assert not any("curve" in row for row in to_the_end.cv_results_)


def test_a_loss_that_is_no_number_is_none_in_the_curve() -> None:
    x, y = features(300, 6, 3)
    search = FineTuneSearch(lr=(1e-2, 1e38), extend=False, min_steps=200)
    search.fit(x[:250], y[:250], x[250:], y[250:])
    [diverged, *_] = (row for row in search.cv_results_ if row["params"]["lr"] == 1e38)
    assert diverged["curve"]["loss"][-1] is None


def test_validation_rows_of_an_unknown_class_count_in_the_scores_and_not_in_the_loss() -> None:
    x, y = features(300, 6, 3)
    y_valid = torch.where(torch.arange(50) < 10, 7, y[250:])
    grid = {"lr": (1e-2,), "weight_decay": (0.0,), "min_steps": 200, "extend": False, "select": "accuracy"}
    search = FineTuneSearch(**grid).fit(x[:250], y[:250], x[250:], y_valid)
    known = FineTuneSearch(**grid).fit(x[:250], y[:250], x[260:], y[260:])
    row, alone = search.cv_results_[0]["curve"], known.cv_results_[0]["curve"]
    assert row["accuracy"][-1] == pytest.approx(search.cv_results_[0]["accuracy"])
    assert row["accuracy"][-1] == pytest.approx(0.8 * alone["accuracy"][-1])
    np.testing.assert_allclose(row["loss"][-1], alone["loss"][-1], rtol=1e-5)
