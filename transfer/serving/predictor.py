"""A saved model at work: images to class names.

H, W: height and width in pixels. N: images. D: features an image. C: classes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from transfer import engines
from transfer.config import CHOICES, REDUCED
from transfer.data import decode
from transfer.data.bad_images import BadImages
from transfer.data.loader import File, Opened
from transfer.data.resize import STRETCH, Resizing
from transfer.engines import Engine, FeatureRows, Plan
from transfer.engines.options import check_names
from transfer.features.forward import batches_for, check_finite
from transfer.heads import serialization
from transfer.heads.calibration import Calibration, ConfidentCounts
from transfer.serving import bundle
from transfer.serving.engine import build_engine, input_size, resizing_of
from transfer.serving.inputs import ADVICE, ImageLike, as_files, check_paths
from transfer.serving.method_files import stem_of
from transfer.serving.prediction import Prediction, check_confidence
from transfer.system.errors import UserError, check_choice
from transfer.system.progress import Progress, reported, silent
from transfer.system.run_files import RECORD
from transfer.system.thread_pools import StartedPool

# Features that are held before the head sees them.
ROWS = 4096

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network and a head, ready to run: loaded once, used as often as wanted, by one thread at a time.

    Examples
    --------
    >>> import transfer
    >>> model = transfer.load("out/photos")
    >>> [found.label for found in model.predict(["boat.jpg", "boat.jpg"])]
    ['class0', 'class0']
    """

    method: str
    classes: tuple[str, ...]
    size: tuple[int, int]
    """Height and width in pixels that images are brought to."""
    decoder: str
    shift: int = decode.SHIFT
    """Bits that values of 16 bits are shifted right by, as in the run."""
    resizing: Resizing = STRETCH
    """How images are brought to that size, as in the run."""
    engine: Engine
    head: Any
    calibration: Calibration | None = None

    @property
    def plan(self) -> Plan:
        """The engine, the precision, the device and what goes with them."""
        return self.engine.plan

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        bad: BadImages | None = None,
        on_progress: Progress = silent,
        *,
        min_confidence: float = 0.0,
        all_classes: bool = False,
    ) -> list[Prediction]:
        """Predict the class of each image.

        In the engine, the precision and the batch that the run had, labels are those that the run predicted. Another
        engine or batch adds up the same products in another order, and bf16, fp16 and int8 round them: features
        then differ, in fp32 in their last bits, and an image between two classes may get the other one's label.

        Parameters
        ----------
        images
            One image or several: paths of files, PIL images, or RGB pixels `(H, W, 3)` uint8. They are brought to
            the model's `size`.
        bad
            What becomes of images that can't be read; by default the first raises an error.
        on_progress
            Called in the phase `predict`, as `Progress` says.
        min_confidence
            Images whose class has a smaller probability than this get no label; from 0 to 1.
        all_classes
            Whether predictions hold the probabilities of all classes, 4 bytes each.

        Returns
        -------
        A list, in the order of the images, without those that `bad` left out.

        Raises
        ------
        UserError
            For an image that can't be read, unless `bad` says otherwise, and for what is no image; for a
            `min_confidence`, or for `all_classes`, of a model that has no calibration.
        """
        if min_confidence:
            self.count_confident(min_confidence)
        if all_classes:
            self.require_calibration("`all_classes`")
        files = [replace(one, shift=self.shift, resizing=self.resizing) for one in as_files(images)]
        if bad is None:
            check_paths(files)
            bad = BadImages(None, "error", advice=ADVICE)
        found: list[Prediction] = []
        with StartedPool(max(1, min(self.plan.threads, len(files)))) as pool:
            for start in range(0, len(files), ROWS):

                def report(done: int, start: int = start) -> None:
                    on_progress("predict", start + done, len(files), "", "images")

                report(0)
                seen, x_ND = self._seen(files[start : start + ROWS], pool, bad, report)
                found += self._judged(seen, x_ND, min_confidence, all_classes)
        if len(found) < len(files):  # those left out are done with too
            on_progress("predict", len(files), len(files), "", "images")
        return found

    def _seen(
        self, files: Sequence[File], pool: ThreadPoolExecutor, bad: BadImages, report: Callable[[int], None]
    ) -> tuple[list[File], FeatureRows]:
        """Return the files that can be read, and their features `(N, D)`."""
        readable: list[File] = []
        rows: list[FeatureRows] = []

        def take(batch: list[File], x_ND: FeatureRows) -> None:
            readable.extend(batch)
            rows.append(x_ND)
            report(len(readable))

        engines.run(self.engine, batches_for(self.plan, files, self.size, self.decoder, pool, bad), take)
        x_ND = np.concatenate(rows) if rows else np.empty((0, self.head.n_features_in_), np.float32)
        check_finite(x_ND, readable, self.plan)
        return readable, x_ND

    def count_confident(self, min_confidence: float) -> ConfidentCounts:
        """Say what a confidence came to on the validation images of the run.

        Parameters
        ----------
        min_confidence : float
            From 0 to 1, in whole hundredths.

        Returns
        -------
        ConfidentCounts

        Raises
        ------
        UserError
            For a value outside 0 to 1, and for a model that an earlier version saved.
        """
        check_confidence(min_confidence)
        return self.require_calibration("`min_confidence`").count_confident(min_confidence)

    def require_calibration(self, instead: str = "") -> Calibration:
        """Return the calibration; `UserError` if there is none, with what may be done instead of a new run."""
        if self.calibration is None:
            raise UserError(
                "this model has no calibrated probabilities, because an earlier version saved it; "
                f"run again{instead and ', or leave out '}{instead}"
            )
        return self.calibration

    def _judged(
        self, files: Sequence[File], x_ND: FeatureRows, least: float, all_classes: bool
    ) -> list[Prediction]:
        if not files:
            return []
        sure: list[float] | list[None] = [None] * len(files)
        shares: Iterable[npt.NDArray[np.float32] | None] = [None] * len(files)
        with self._libraries.limit(limits=self.plan.threads):
            if self.calibration and all_classes:
                code_N, share_NC = self.calibration.predict_with_all(self.head, x_ND)
                at_N = np.searchsorted(self.head.classes_, code_N)
                shares, sure = self._spread(share_NC), share_NC[np.arange(len(files)), at_N].tolist()
            elif self.calibration:
                code_N, confidence_N = self.calibration.predict(self.head, x_ND)
                sure = confidence_N.tolist()
            else:
                code_N = self.head.predict(x_ND)
                if hasattr(self.head, "predict_proba"):
                    sure = self.head.predict_proba(x_ND).max(axis=1).tolist()
        return [
            Prediction(
                path=None if isinstance(file, Opened) else file.path,
                label=None if own is not None and own < least else self.classes[int(code)],
                probability=own,
                probabilities=share_C,
            )
            for file, code, own, share_C in zip(files, code_N, sure, shares, strict=True)
        ]

    def _spread(self, share_NC: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Return the probabilities of the head's classes as those of the model's, which may be more."""
        spread_NC = np.zeros((len(share_NC), len(self.classes)), np.float32)
        spread_NC[:, self.head.classes_] = share_NC
        return spread_NC

    @cached_property
    def _libraries(self) -> ThreadpoolController:
        # Those that see a whole host where a container gives two cores would start a thread for each.
        return ThreadpoolController()


def load(
    folder: Path | str | bundle.Kept,
    *,
    method: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    batch: int = 1,
    on_progress: Progress = silent,
) -> Model:
    """Load a model from the folder that a run wrote to.

    Parameters
    ----------
    folder : path, or what `bundle.load` read there
    method : str, optional
        Whose head; by default the one that was best on the validation split.
    device, engine, precision : str
        `auto` is that of the features which the head was fitted on, where this machine has it, else eager PyTorch in
        fp32, with a line that says so.
    batch : int
        Images in a forward pass, at most as many as a run has on that device and as fit into memory;
        fewer are padded to as many.
    on_progress : Progress
        Called in the phase `load`.

    Returns
    -------
    Model

    Raises
    ------
    UserError
        For a folder that holds no model, or not what was written, and for what this machine can't do.

    Examples
    --------
    >>> import transfer
    >>> model = transfer.load("out/photos")
    >>> model.classes
    ('class0', 'class1', 'class2')
    """
    check_choice("device", device, CHOICES["device"])
    check_names(engine, precision)
    if batch < 1:
        raise UserError(f"batch is {batch}; give a whole number from 1 up")
    kept = folder if isinstance(folder, bundle.Kept) else bundle.load(Path(folder))
    entry = kept.method(method)
    classes = tuple(kept.record["classes"])
    head = serialization.load(kept.whole(stem_of(entry["name"]), entry["sha256"]))
    if not set(head.classes_.tolist()) <= set(range(len(classes))):
        raise UserError(f"{kept.folder / RECORD} doesn't match the classes of {entry['name']}")
    with reported(on_progress, "load", f"network, {entry['name']}"):
        ready = build_engine(kept, entry, device, engine, precision, batch, head.n_features_in_)
    calibrated = entry.get("calibration")
    decoder = kept.record["features"]["decoder"]
    if decoder == "nvjpeg" and ready.plan.device != "cuda":
        log.warning("features came from nvJPEG, which takes a CUDA device; decoding by Pillow")
        decoder = "pillow"
    return Model(
        method=entry["name"],
        classes=classes,
        size=input_size(kept),
        decoder=decoder,
        shift=kept.record["features"].get("shift", decode.SHIFT),
        resizing=replace(resizing_of(kept), reduced=decoder == REDUCED),
        engine=ready,
        head=head,
        calibration=calibrated and Calibration(**calibrated),
    )
