"""Registry of the heads, and of the methods of the report that are made from them.

A method is a search with fixed settings and a name. To add one: a file with the search, and an entry here.
Nothing heavy is imported until a method is built, so that `transfer --help` can list them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transfer.config import ADAPTATIONS, UNCACHED, RunConfig
from transfer.system.errors import UserError, check_choice

if TYPE_CHECKING:
    from transfer.heads.base import GridSearch


@dataclass(frozen=True)
class Method:
    """A row of the report.

    Parameters
    ----------
    name : str
        As in `--methods`.
    kind : str
        Family of the method; the report compares methods of different families.
    summary : str
        One line that describes it in the result file.
    build : callable
        Makes the search, not fitted, from a `RunConfig`.
    by_default : bool
        Whether a run has it that names no methods. Every method more is a row of each table, and makes the p values
        of all pairs larger, since they are adjusted for their number.
    """

    name: str
    kind: str
    summary: str
    build: Callable[[RunConfig], GridSearch]
    by_default: bool = True


def class_weights(config: RunConfig) -> tuple[str | None, ...]:
    """Return the class weights to try: balanced ones too if the score counts all classes equally."""
    return (None, "balanced") if config.select == "macro_f1" else (None,)


def _fine_tuning(config: RunConfig, **settings: Any) -> GridSearch:
    from transfer.heads.linear_probe import FineTuneSearch

    return FineTuneSearch(
        **settings,
        batch_size=config.batch_size,
        select=config.select,
        seed=config.seed,
        device=config.device,
    )


def _fc_lab(config: RunConfig) -> GridSearch:
    return _fine_tuning(
        config,
        lr=config.lr or (1e-5, 1e-4, 1e-3, 1e-2),
        weight_decay=(0.0,),
        epochs=config.epochs or 10,
        min_steps=0,
        cosine=False,
        halve=False,
        standardize=False,
        extend=False,
    )


def _fc(config: RunConfig) -> GridSearch:
    given = {"lr": config.lr, "epochs": config.epochs}
    own = {name: value for name, value in given.items() if value is not None}
    return _fine_tuning(config, **own, class_weight=class_weights(config))


def _svm(config: RunConfig, **settings: Any) -> GridSearch:
    from transfer.heads.svm import SVMSearch

    return SVMSearch(**settings, select=config.select, seed=config.seed, device=config.device)


def _ridge(config: RunConfig) -> GridSearch:
    from transfer.heads.ridge import RidgeSearch

    return RidgeSearch(class_weight=class_weights(config), select=config.select, seed=config.seed)


def _logreg(config: RunConfig) -> GridSearch:
    from transfer.heads.logreg import LogisticRegressionSearch

    return LogisticRegressionSearch(
        class_weight=class_weights(config), select=config.select, seed=config.seed
    )


def _knn(config: RunConfig) -> GridSearch:
    from transfer.heads.knn import KNNSearch

    return KNNSearch(select=config.select, seed=config.seed)


def _ncm(config: RunConfig) -> GridSearch:
    from transfer.heads.ncm import NearestMeanSearch

    return NearestMeanSearch(select=config.select, seed=config.seed)


FINE_TUNING, SVM_KIND = "fine-tuning", "SVM"


METHODS = {
    method.name: method
    for method in (
        Method(
            "fc-lab",
            FINE_TUNING,
            "last layer, Adam, raw features: the lab's protocol",
            _fc_lab,
        ),
        Method(
            "fc",
            FINE_TUNING,
            "last layer, AdamW, the learning rate falling to zero, standardised features",
            _fc,
        ),
        Method(
            "svm-lab",
            SVM_KIND,
            "SVC as scikit-learn sets it (RBF, C=1), raw features: the lab's protocol",
            # An approximation would be another protocol.
            lambda config: _svm(
                config, kernels=("rbf",), C=(1,), standardize=False, extend=False, n_landmarks=0
            ),
        ),
        Method(
            "svm",
            SVM_KIND,
            "linear and RBF, C = 0.01 to 100, standardised features",
            lambda config: _svm(config, class_weight=class_weights(config)),
        ),
        Method(
            "ridge",
            "ridge regression",
            "least squares in closed form, alpha = 1 to 10,000, standardised features",
            _ridge,
        ),
        Method(
            "logreg",
            "logistic regression",
            "multinomial, C = 0.01 to 100, standardised features",
            _logreg,
        ),
        Method(
            "knn",
            "nearest neighbours",
            "1, 5 or 20 of them, standardised features; nothing is trained",
            _knn,
        ),
        Method(
            "ncm",
            "nearest class mean",
            "Euclidean or cosine, standardised features",
            _ncm,
            by_default=False,
        ),
    )
}


def default_methods() -> tuple[str, ...]:
    """Return the names of the methods of a run that names none."""
    return tuple(name for name, method in METHODS.items() if method.by_default)


def check_methods(names: Iterable[str]) -> None:
    """Raise `UserError` for a name of no method, and for a method that another setting adds.

    Parameters
    ----------
    names : iterable of str
        `methods` of a configuration: those that train with the network are not named there.
    """
    for name in names:
        family, _, block = name.partition(":")
        setting = f"unfreeze=['{block or 'layer4'}']"
        if family in ADAPTATIONS:
            setting += f", adapt=['{'lora:8' if family == 'lora' else family}']"
        if name == UNCACHED:
            setting = "bn='train'"
        if name == UNCACHED or family in ("unfreeze", *ADAPTATIONS):
            raise UserError(f"`methods` is {name!r}, which `{setting}` adds; leave it out of `methods`")
        check_choice("methods", name, METHODS)


# Where the heads and their searches lie.
HEADS = {
    "FineTune": "linear_probe_classifier",
    "FineTuneSearch": "linear_probe",
    "SVM": "svm_classifier",
    "SVMSearch": "svm",
    "RidgeHead": "ridge",
    "RidgeSearch": "ridge",
    "LogisticRegressionHead": "logreg",
    "LogisticRegressionSearch": "logreg",
    "KNN": "knn",
    "KNNSearch": "knn",
    "NearestMean": "ncm",
    "NearestMeanSearch": "ncm",
}
