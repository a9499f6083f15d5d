from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from tests.heads.test_adam import LEARNING_RATES, features
from transfer.heads.adam import Stack, train_stack
from transfer.heads.fc import FineTune, FineTuneSearch


def test_standardisation_is_folded_into_the_layer() -> None:
    x, y = features(200, 20, 4)
    x = x * torch.linspace(0.1, 30, 20) + torch.linspace(-50, 50, 20)
    x[:, 7] = 3.0  # constant
    head = FineTune(lr=1e-2, seed=2).fit(x, y)

    mean, deviation = x.double().mean(0), x.double().std(0, correction=0)
    deviation[7] = 1
    z = ((x - mean) / deviation).float()
    weights, biases = train_stack(
        z, y, 4, lr_S=[1e-2], weight_decay_S=[0.0], epochs=10, batch_size=128, seed=2
    )
    logits = z @ weights[0].T + biases[0]
    np.testing.assert_allclose(head.decision_function(x), logits, atol=2e-3)


def test_a_search_holds_what_single_fits_would() -> None:
    x, y = features(260, 30, 5)
    search = FineTuneSearch(lr=LEARNING_RATES, weight_decay=(0.0, 0.1), epochs=3, seed=4).fit(
        x[:200], y[:200], x[200:], y[200:]
    )
    each = search.predict_each(x)
    assert [row["params"] for row in search.cv_results_] == [
        {"lr": lr, "weight_decay": decay} for lr in LEARNING_RATES for decay in (0.0, 0.1)
    ]
    for row, predicted in zip(search.cv_results_, each, strict=True):
        alone = FineTune(**row["params"], epochs=3, seed=4).fit(x[:200], y[:200])
        np.testing.assert_array_equal(predicted, alone.predict(x))
        assert row["accuracy"] == pytest.approx((predicted[200:] == y[200:].numpy()).mean())


def unequal_features() -> tuple[torch.Tensor, torch.Tensor]:
    """Three overlapping classes of 150, 50 and 25 rows and more of them, mixed."""
    x, y = features(600, 8, 3)
    order = torch.cat([(y == c).nonzero()[: 150 // rarer, 0] for c, rarer in enumerate((1, 3, 6))])
    order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(0))]
    return x[order] * 0.5, y[order]


def test_balanced_classes_enter_the_loss_with_torchs_weights() -> None:
    x, y = unequal_features()
    counts = torch.bincount(y)
    weights, biases = train_stack(
        x,
        y,
        3,
        lr_S=[1e-2],
        weight_decay_S=[0.0],
        epochs=10,
        batch_size=128,
        seed=0,
        class_weight_C=len(y) / (3 * counts),
    )
    names = np.array(["ant", "bee", "cat"])
    for class_weight in ("balanced", {names[c]: len(y) / (3 * int(counts[c])) for c in range(3)}):
        head = FineTune(lr=1e-2, standardize=False, class_weight=class_weight).fit(x, names[y])
        np.testing.assert_allclose(head.coef_, weights[0], atol=1e-6)
        np.testing.assert_allclose(head.intercept_, biases[0], atol=1e-6)


def test_a_search_weighs_classes_as_single_fits_do() -> None:
    x, y = unequal_features()
    search = FineTuneSearch(lr=(1e-2, 1e-1), class_weight="balanced").fit(x, y, x, y)
    even = FineTuneSearch(lr=(1e-2, 1e-1)).fit(x, y, x, y)
    assert search.best_estimator_.class_weight == "balanced"
    alone = FineTune(**search.best_params_, class_weight="balanced").fit(x, y)
    np.testing.assert_allclose(search.best_estimator_.coef_, alone.coef_, atol=1e-5)
    rarest = (y == 2).numpy()
    assert (search.predict(x)[rarest] == 2).mean() > (even.predict(x)[rarest] == 2).mean()


def test_an_unknown_class_weight_is_named() -> None:
    x, y = features(30, 4, 2)
    with pytest.raises(ValueError, match="balanced"):
        FineTune(class_weight="fair").fit(x, y)


def test_seeds_are_rows_of_their_own_and_the_setting_is_chosen_by_their_mean() -> None:
    x, y = features(260, 5, 5)
    x_valid, y_valid = x[200:], y[200:]
    search = FineTuneSearch(lr=LEARNING_RATES, weight_decay=(0.0, 0.1), epochs=3, seed=4, n_seeds=3).fit(
        x[:200], y[:200], x_valid, y_valid
    )
    assert [row["params"] for row in search.cv_results_] == [
        {"lr": lr, "weight_decay": decay, "seed": seed}
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
    told = iter([0.9, 0.1, 0.6, 0.7])  # two settings of two seeds: the luckiest, and the better ones
    monkeypatch.setattr(
        "transfer.heads.selection.validation_row",
        lambda params, y, predicted, fit_s: {"params": params, "accuracy": 0.5, "macro_f1": next(told)},
    )
    x, y = features(40, 4, 2)
    search = FineTuneSearch(lr=(1e-3, 1e-2), epochs=1, n_seeds=2).fit(x, y, x, y)
    assert search.best_params_ == {"lr": 1e-2, "weight_decay": 0.0, "seed": 1}


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_early_stopping_keeps_the_best_epoch_each_setting_would_have_had_alone(n_seeds: int) -> None:
    x, y = features(200, 4, 5)
    (x_train, y_train), (x_valid, y_valid) = (x[:100], y[:100]), (x[100:], y[100:])
    grid = {"lr": (1e-3, 1e-2, 1e-1), "weight_decay": (0.0, 0.1), "batch_size": 32}
    search = FineTuneSearch(**grid, n_seeds=n_seeds, epochs=12, early_stopping=True, patience=3)
    search.fit(x_train, y_train, x_valid, y_valid)
    stopped = []
    for row in search.cv_results_:
        own = {name: value for name, value in row["params"].items() if name != "epochs"}
        scores = []
        for epochs in range(1, 13):
            alone = FineTune(**own, epochs=epochs, batch_size=32).fit(x_train, y_train)
            scores.append(f1_score(y_valid, alone.predict(x_valid), average="macro", zero_division=0))
            if len(scores) - 1 - int(np.argmax(scores)) == 3:
                break
        stopped.append(len(scores))
        assert row["params"]["epochs"] == 1 + int(np.argmax(scores))
        assert row["macro_f1"] == pytest.approx(max(scores))
    assert min(stopped) < max(stopped)  # some stand still while others are still learning
    assert search.best_estimator_.epochs == search.best_params_["epochs"]


def test_early_stopping_ends_when_no_setting_gets_better(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = features(60, 4, 2)
    passes = []
    monkeypatch.setattr(Stack, "epoch", lambda stack, epoch=Stack.epoch: (passes.append(1), epoch(stack)))
    FineTuneSearch(lr=(0.0, 1e-9), epochs=500, early_stopping=True, patience=4).fit(x, y, x, y)
    assert len(passes) == 5


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"n_seeds": 0}, {"patience": 0}, {"select": "loss"}])
def test_a_search_names_what_is_wrong(wrong: dict[str, object]) -> None:
    x, y = features(20, 4, 2)
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        FineTuneSearch(early_stopping=True, **wrong).fit(x, y, x, y)


@pytest.mark.parametrize("standardize", [True, False])
def test_rows_that_are_read_only_or_strided_are_taken(standardize: bool) -> None:
    x, y = features(60, 8, 2)
    plain = FineTune(standardize=standardize).fit(x.numpy(), y.numpy())
    locked = x.numpy().copy()
    locked.flags.writeable = False
    turned = np.asfortranarray(x.numpy())
    for rows in (locked, turned, x.numpy()[::-1].copy()[::-1]):
        head = FineTune(standardize=standardize).fit(rows, y.numpy())
        np.testing.assert_array_equal(head.predict_proba(rows), plain.predict_proba(x.numpy()))


def test_two_classes_have_one_decision_value() -> None:
    x, y = features(100, 10, 2)
    head = FineTune().fit(x, y)
    assert head.decision_function(x).shape == (100,)
    np.testing.assert_array_equal(head.predict(x), (head.decision_function(x) > 0).astype(int))
    np.testing.assert_allclose(head.predict_proba(x).sum(1), 1, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_trains_the_same_layer() -> None:
    x, y = features(300, 64, 6)
    on_cpu = FineTuneSearch(device="cpu").fit(x[:200], y[:200], x[200:], y[200:])
    on_cuda = FineTuneSearch(device="cuda").fit(x[:200], y[:200], x[200:], y[200:])
    np.testing.assert_allclose(on_cuda.best_estimator_.coef_, on_cpu.best_estimator_.coef_, atol=1e-4)


def test_the_lab_features_are_learned(boat_features: dict[str, np.ndarray]) -> None:
    search = FineTuneSearch().fit(
        boat_features["x_train"], boat_features["y_train"], boat_features["x_valid"], boat_features["y_valid"]
    )
    predicted = search.predict(boat_features["x_test"])
    assert (predicted == boat_features["y_test"]).mean() > 0.88
    assert f1_score(boat_features["y_test"], predicted, average="macro", zero_division=0) >= 0.65
