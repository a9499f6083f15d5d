from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification

from transfer.heads import (
    KNN,
    SVM,
    FineTune,
    FineTuneSearch,
    KNNSearch,
    LogisticRegressionHead,
    LogisticRegressionSearch,
    NearestMean,
    RidgeHead,
    RidgeSearch,
    SVMSearch,
    serialization,
)
from transfer.heads.transforms import FeatureTransform, on_raw_features
from transfer.system.errors import UserError

NAMES = np.array(["ant", "bee", "cat", "dog", "eel"])
HEADS = [
    FineTune(),
    SVM(),
    SVM(kernel="rbf", C=10),
    SVM(kernel="rbf", n_landmarks=50),
    RidgeHead(),
    LogisticRegressionHead(),
    KNN(),
    NearestMean(),
]


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    x, y = make_classification(
        300, 30, n_informative=10, n_classes=5, n_clusters_per_class=1, class_sep=2, random_state=0
    )
    return x.astype(np.float32), y


@pytest.fixture
def path(tmp_path: Path, data: tuple[np.ndarray, np.ndarray]) -> Path:
    return serialization.save(RidgeHead().fit(*data), tmp_path / "head.safetensors")


def parts(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file says, and its arrays."""
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()[serialization.KEY])
        return about, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize(
    "error", [MemoryError(), SafetensorError("Cannot allocate memory (os error 12)")], ids=repr
)
def test_a_want_of_memory_is_no_damage(path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(serialization, "safe_open", fails)
    with pytest.raises(MemoryError):
        serialization.load(path)


def rewrite(path: Path, about: Any, arrays: dict[str, np.ndarray]) -> None:
    if isinstance(about, dict) and "sha256" in about:
        said = {key: value for key, value in about.items() if key != "sha256"}
        about = {**said, "sha256": serialization._digest(said, arrays)}
    path.write_bytes(to_bytes(arrays, metadata={serialization.KEY: json.dumps(about)}))


@pytest.mark.parametrize(
    "head", HEADS, ids=lambda head: f"{type(head).__name__}-{getattr(head, 'kernel', '')}"
)
@pytest.mark.parametrize(
    "labels", [np.arange(5), NAMES, NAMES.astype(object), np.array([False, True] * 2 + [True])]
)
def test_a_loaded_head_predicts_the_same_bits(
    head: BaseEstimator, labels: np.ndarray, tmp_path: Path, data: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = data
    fitted = clone(head).fit(x[:200], labels[y[:200]])
    loaded = serialization.load(serialization.save(fitted, tmp_path / "head"))
    assert type(loaded) is type(fitted)
    assert loaded.get_params() == fitted.get_params()
    assert vars(loaded).keys() == vars(fitted).keys()
    assert loaded.classes_.dtype == fitted.classes_.dtype
    np.testing.assert_array_equal(loaded.predict(x), fitted.predict(x))
    tell = "predict_proba" if isinstance(head, KNN) else "decision_function"
    assert getattr(loaded, tell)(x).tobytes() == getattr(fitted, tell)(x).tobytes()


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_a_head_behind_steps_is_saved_with_them(
    head: BaseEstimator, tmp_path: Path, data: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = data
    transform = FeatureTransform(steps=("pca:9", "l2", "pca:6", "whiten")).fit(x[:200])
    fitted = on_raw_features(clone(head).fit(transform.transform(x[:200]), y[:200]), transform.steps_)
    saved = serialization.save(fitted, tmp_path / "head")
    loaded = serialization.load(saved)
    assert [type(step) for step in loaded.steps] == [type(step) for step in fitted.steps]
    assert (type(loaded.head), loaded.n_features_in_) == (type(head), 30)
    np.testing.assert_array_equal(loaded.predict(x), fitted.predict(x))
    tell = "predict_proba" if isinstance(head, KNN) else "decision_function"
    assert getattr(loaded, tell)(x).tobytes() == getattr(fitted, tell)(x).tobytes()
    about, arrays = parts(saved)
    rewrite(saved, about, arrays | {"step.0.mean": arrays["step.0.mean"][1:]})
    with pytest.raises(UserError, match="damaged head"):
        serialization.load(saved)


@pytest.mark.slow
@pytest.mark.parametrize(
    "search",
    [
        FineTuneSearch(epochs=2),
        SVMSearch(C=(1,)),
        RidgeSearch(),
        LogisticRegressionSearch(C=(0.1,), class_weight=({0: 2.0, 1: np.float64(3)},)),
        KNNSearch(),
    ],
    ids=lambda search: type(search).__name__,
)
def test_what_a_search_chose_can_be_saved(
    search: Any, tmp_path: Path, data: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = data
    search.fit(x[:200], y[:200], x[200:], y[200:])
    loaded = serialization.load(serialization.save(search.best_estimator_, tmp_path / "best"))
    np.testing.assert_array_equal(loaded.predict(x), search.predict(x))
    assert loaded.get_params() == search.best_estimator_.get_params()
    with pytest.raises(UserError, match="best_estimator_"):
        serialization.save(search, tmp_path / "search")


def test_what_cannot_be_saved_is_named(tmp_path: Path, data: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(UserError, match="not fitted"):
        serialization.save(KNN(), tmp_path / "head")
    with pytest.raises(UserError, match="FineTune's seed is"):
        serialization.save(FineTune(epochs=1).fit(*data).set_params(seed=object()), tmp_path / "head")
    with pytest.raises(UserError, match="can't write .*nowhere"):
        serialization.save(KNN().fit(*data), tmp_path / "nowhere" / "head")
    assert not list(tmp_path.iterdir())


def test_a_file_cut_or_changed_anywhere_is_reported_in_one_line(path: Path) -> None:
    whole = path.read_bytes()
    # The header's sizes, its JSON, the first and the last numbers; then a cut.
    broken = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (0, 3, 9, 60, -500, -1)]
    for data in (*broken, whole[:-1], whole[:100], b"", b"\x80\x04\x95cos\nsystem\n"):
        path.write_bytes(data)
        with pytest.raises(UserError, match="head.safetensors") as caught:
            serialization.load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"head": "RunConfig"},
        {"head": "RidgeSearch"},
        {"head": ["RidgeHead"]},
        {"params": {"alpha": 1.0, "colour": "red"}},
        {"params": None},
        {"fitted": {"n_features_in_": 30}},
        {"fitted": {"classes_": {"kind": "text", "values": ["a", "b"]}, "n_features_in_": 30}},
        {"fitted": {"classes_": {"kind": "exec", "values": ["1"]}, "n_features_in_": 30}},
        {"fitted": {"predict": 1, "n_features_in_": 30}},
        {"fitted": {"__class__": 1, "n_features_in_": 30}},
        {"fitted": {"n_features_in_": 10**12}},
        {"by_column": ["none"]},
        {"params": [1]},
    ],
    ids=str,
)
def test_a_forged_file_is_refused(path: Path, change: dict[str, Any]) -> None:
    about, arrays = parts(path)
    if "classes_" in change.get("fitted", {}) or change == {"fitted": {"n_features_in_": 30}}:
        del arrays["classes_"]
    rewrite(path, {**about, **change}, arrays)
    with pytest.raises(UserError, match="damaged head"):
        serialization.load(path)


def test_an_empty_array_of_any_width_makes_no_row_of_that_width(path: Path) -> None:
    about, arrays = parts(path)
    arrays["_empty"] = np.zeros((0, 10**10), np.float32)
    rewrite(path, {**about, "fitted": {"n_features_in_": 10**10}}, arrays)
    with pytest.raises(UserError, match="10000000000 features"):
        serialization.load(path)


@pytest.mark.parametrize("about", [None, [], {"format": 2}, {"format": "1"}])
def test_another_format_is_reported(path: Path, about: Any) -> None:
    rewrite(path, about, {"x": np.ones(3)})
    with pytest.raises(UserError, match="no saved head of format 1"):
        serialization.load(path)
    path.write_bytes(to_bytes({"x": np.ones(3)}))
    with pytest.raises(UserError, match="no saved head of format 1"):
        serialization.load(path)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't read"):
        serialization.load(tmp_path / "none.safetensors")


def test_another_version_is_reported_and_loads(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    about, arrays = parts(path)
    rewrite(path, {**about, "transfer": "0.0.1"}, arrays)
    with caplog.at_level(logging.WARNING):
        serialization.load(path)
    assert "saved by transfer 0.0.1" in caplog.text
