"""A saved model as one file for other runtimes: written, and its answers compared with the model's own.

N: images. H, W: height and width in pixels. C: classes.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.export import Dim

from transfer.backbones.licences import describe_licence
from transfer.config import EXPORT_FORMATS
from transfer.data import decode
from transfer.data.bad_images import BadImages
from transfer.data.limits import BadImage
from transfer.data.loader import File
from transfer.heads.modules import build_module
from transfer.serving import bundle, predictor
from transfer.serving.bundle import STAGING, Kept
from transfer.serving.engine import build_network
from transfer.serving.exported import Check, Exported
from transfer.serving.formats import EXPORTERS, Answer
from transfer.serving.graph import Classifier, Resize
from transfer.serving.inputs import ADVICE
from transfer.serving.predictor import Model
from transfer.system.errors import UserError, check_choice, is_out_of_memory
from transfer.system.hardware import installed_version
from transfer.system.progress import Progress, reported, silent
from transfer.system.text import first_line
from transfer.system.version import __version__

Pixels = npt.NDArray[np.uint8]

# Images of noise that an exported file is checked on where none are given.
NOISE = 16


def export(
    folder: Path | str,
    out: Path | str,
    *,
    format: str = "onnx",
    method: str | None = None,
    resize: bool = True,
    images: Sequence[Path] = (),
    bad: BadImages | None = None,
    on_progress: Progress = silent,
) -> Exported:
    """Export a saved model: pixels to labels and calibrated probabilities, in fp32.

    The file takes `images` `(N, 3, H, W)` uint8, RGB, and gives `label` `(N,)` int64, an index into the classes of its
    metadata, and `probabilities` `(N, C)` float32.

    Parameters
    ----------
    folder : path
        That a run wrote to.
    out : path
        Folder of the exported file; made where it is missing.
    format : {"onnx", "openvino", "torch"}
    method : str, optional
        Whose head; by default the one that was best on the validation split.
    resize : bool
        Whether images of any height and width are taken, and resized as Pillow does it. That takes float64, which
        OpenVINO has not on processors: its file takes images of the model's size alone.
    images : sequence of Path
        Files that the answers are compared on; without any, noise.
    bad : BadImages, optional
        What becomes of files that can't be read; by default the first raises an error.
    on_progress : Progress
        Called in the phases `load`, `export` and `check`.

    Returns
    -------
    Exported

    Raises
    ------
    UserError
        For packages that are not installed, a head or a network that can't be exported, and files that can't be read
        or written. An earlier exported file is then as it was.

    Examples
    --------
    >>> from transfer.serving.export import export
    >>> done = export("out/photos", "out/exported", format="torch")
    >>> done.check.passed
    True
    """
    check_choice("format", format, EXPORT_FORMATS)
    kind, out = EXPORTERS[format], Path(out)
    if missing := [package for package in kind.packages if not installed_version(package)]:
        raise UserError(f"`format='{format}'` needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    kept = bundle.load(Path(folder))
    model = predictor.load(
        kept, method=method, device="cpu", engine="eager", precision="fp32", on_progress=on_progress
    )
    resize = resize and kind.resizes
    metadata = _describe(kept, model, resize)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=out) as staging:
            path = Path(staging) / kind.file
            with reported(on_progress, "export", format), _warnings_ignored():
                try:
                    kind.write(trace(kept, model, resize), path, metadata)
                    answer = kind.read(path)
                except (UserError, MemoryError, OSError):
                    raise
                except Exception as error:  # tracers and converters fail in every way
                    if is_out_of_memory(error):
                        raise MemoryError from error
                    network = kept.record["backbone"]["name"]
                    raise UserError(f"{network} can't be exported as {format} ({_reason(error)})") from error
            bad = bad or BadImages(None, "error", advice=ADVICE)
            shown = _read(images, model, resize, bad) if images else _draw(model.size, resize)
            total = len(images) or NOISE
            check = compare(model, answer, shown, total, of_noise=not images, on_progress=on_progress)
            for part in Path(staging).iterdir():
                part.replace(out / part.name)
    except OSError as error:
        raise UserError(f"can't write to {out} ({error.strerror or error}); give another `out`") from error
    versions = {package: str(installed_version(package)) for package in ("torch", "pillow", *kind.packages)}
    versions = {"transfer": __version__, **versions}
    return Exported(
        file=out / kind.file,
        format=format,
        metadata=metadata,
        licence=describe_licence(metadata["backbone"], metadata["weights"]),
        versions=versions,
        check=check,
    )


def trace(kept: Kept, model: Model, resize: bool) -> torch.export.ExportedProgram:
    """Trace a whole model for any number of images, and with `resize` any size of them."""
    network, normalisation = build_network(kept, kept.method(model.method))
    head = build_module(model.head, model.require_calibration())
    fit = Resize(model.size, model.resizing) if resize else nn.Identity()
    classifier = Classifier(fit, network, normalisation, head).eval()
    # Two images, and another size than the model's: what equals one, or a constant, may be taken for it.
    height, width = (side + 2 * resize for side in model.size)
    example = torch.zeros((2, 3, height, width), dtype=torch.uint8)
    free = dict.fromkeys((0, 2, 3) if resize else (0,), Dim.DYNAMIC)
    with torch.no_grad():
        return torch.export.export(classifier, (example,), dynamic_shapes=(free,))


def compare(
    model: Model,
    answer: Answer,
    images: Iterable[Pixels],
    total: int,
    *,
    of_noise: bool,
    on_progress: Progress = silent,
) -> Check:
    """Compare the answers of an exported file with those of the model, image by image."""
    classes = [model.classes[code] for code in model.head.classes_]
    count, equal, largest = 0, 0, 0.0
    on_progress("check", 0, total, "", "images")
    for x_HW3 in images:
        label_N, share_NC = answer(np.ascontiguousarray(x_HW3.transpose(2, 0, 1)[None]))
        [own] = model.predict(x_HW3, all_classes=True)
        assert own.probabilities is not None
        equal += classes[int(label_N[0])] == own.label
        apart = float(np.abs(share_NC[0] - own.probabilities[model.head.classes_]).max())
        largest = max(largest, apart if np.isfinite(apart) else np.inf)
        count += 1
        on_progress("check", count, total, "", "images")
    on_progress("check", total, total, "", "images")
    if not count:
        raise UserError("none of the images for the check can be read; give others")
    return Check(images=count, of_noise=of_noise, equal_labels=equal, largest_difference=largest)


def _describe(kept: Kept, model: Model, resize: bool) -> dict[str, str]:
    about, made_from = kept.record["backbone"], kept.record.get("made_from") or {}
    return {
        "transfer": __version__,
        "data": str(made_from.get("data", "")),
        "backbone": about["name"],
        "weights": about["weights"],
        "method": model.method,
        "classes": json.dumps([model.classes[code] for code in model.head.classes_], ensure_ascii=False),
        "input_size": f"{model.size[0]}x{model.size[1]}",
        "any_size": str(resize).lower(),
        "resize": model.resizing.way,
        "decoder": model.decoder,
        "precision": kept.record["features"]["precision"],
        "layers": ",".join(about.get("layers", ())),
        "transform": ",".join(kept.record.get("transform", ())),
    }


def _read(files: Sequence[Path], model: Model, any_size: bool, bad: BadImages) -> Iterator[Pixels]:
    """Yield the upright pixels of files, in their own size or in the model's."""
    for path in files:
        try:
            data = File(path).data()
            size = decode.size_of(data) if any_size else model.size
            pixels = decode.pixels(data, size, model.shift, model.resizing)
        except BadImage as error:
            bad.record(path, error)
            continue
        yield pixels


def _draw(size: tuple[int, int], any_size: bool) -> Iterator[Pixels]:
    """Yield noise from dark to bright and from flat to rough: of images that are alike one would do."""
    height, width = size
    rng = np.random.default_rng(0)
    for i in range(NOISE):
        own = (height * 3 // 2, width * 3 // 4) if any_size and i % 2 else size
        low, high = sorted(rng.integers(0, 256, 2))
        yield rng.integers(low, high + 1, (*own, 3)).astype(np.uint8)


def _reason(error: Exception) -> str:
    """Return the line of a converter's error that names what it can't convert; else the first line."""
    named = [line for line in str(error).splitlines() if "No conversion rule" in line]
    return named[0].lstrip("- ") if named else first_line(error)


@contextlib.contextmanager
def _warnings_ignored() -> Iterator[None]:
    """Ignore what tracers and converters warn of: parts of their own that are old, and shapes that are not fixed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
