"""Image sets: folders of labelled images, found and split."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from transfer.config import UserError
from transfer.decode import EXTENSIONS

SPLITS = ("train", "valid", "test")
VALID_NAMES = ("valid", "val", "validation")
SPLIT_NAMES = {"train", "training", "test", "testing", *VALID_NAMES}
VALID_SHARE, TEST_SHARE = 0.1, 0.2


@dataclass(frozen=True)
class Sample:
    """One labelled image: its file and the index of its class."""

    path: Path
    label: int


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Labelled images in the splits train, valid and test."""

    name: str
    root: Path
    classes: tuple[str, ...]
    splits: dict[str, tuple[Sample, ...]]
    drawn: tuple[str, ...] = ()
    """The splits that were drawn from others, because the folder does not have them."""
    others: tuple[str, ...] = ()
    """Files that are no images, left alone; relative to the root."""

    def samples(self) -> list[Sample]:
        """All samples: train, then valid, then test."""
        return [sample for split in SPLITS for sample in self.splits[split]]


def find(root: Path, *, seed: int = 0) -> ImageSet:
    """The image set in a folder: `train/ valid/ test/` of class folders, or class folders alone.

    A missing `valid` is drawn from `train`, and class folders alone are split 70/10/20: stratified, and the
    same for the same `seed`. Order follows the names. Raises `UserError` where the folder can't serve.
    """
    if not root.is_dir():
        raise UserError(f"no such folder: {root}; give a folder of class folders, or lagoon")
    train = root / "train"
    if train.is_dir() and ((root / "test").is_dir() or _subfolders(train)):
        found = _find_splits(root, seed)
    else:
        _refuse_split_names(root)
        found = _find_classes(root, seed)
    _check(found)
    return found


def _find_splits(root: Path, seed: int) -> ImageSet:
    if not (root / "test").is_dir():
        raise UserError(f"{root} has train/ but no test/; add test/, or give one folder of class folders")
    valid = [root / name for name in VALID_NAMES if (root / name).is_dir()]
    if len(valid) > 1:
        raise UserError(f"{root} has both {valid[0].name}/ and {valid[1].name}/; keep one of them")
    folders = {"train": root / "train", "test": root / "test", **({"valid": valid[0]} if valid else {})}
    classes = tuple(folder.name for folder in _subfolders(folders["train"]))
    labels = {name: label for label, name in enumerate(classes)}
    splits: dict[str, tuple[Sample, ...]] = {}
    others: list[Path] = [path for path in sorted(root.iterdir()) if path.is_file()]
    for split, folder in folders.items():
        samples: list[Sample] = []
        others += [path for path in sorted(folder.iterdir()) if path.is_file()]
        for class_folder in _subfolders(folder):
            images, rest = _files(class_folder)
            if images and class_folder.name not in labels:
                raise UserError(
                    f"class {class_folder.name!r} is in {folder.name}/ but not in train/; "
                    "add training images of it, or take it out"
                )
            samples += [Sample(path, labels[class_folder.name]) for path in images]
            others += rest
        splits[split] = tuple(samples)
    if not valid:
        kept = _deal(splits["train"], {"valid": VALID_SHARE / (1 - TEST_SHARE)}, classes, seed)
        splits.update(kept)
    drawn = () if valid else ("valid",)
    return _image_set(root, classes, splits, drawn, others)


def _refuse_split_names(root: Path) -> None:
    """Raise `UserError` for Train/ and Test/, or test/ without train/: taken for classes they would "work"."""
    alike = [folder.name for folder in _subfolders(root) if folder.name.casefold() in SPLIT_NAMES]
    if len(alike) > 1 and all(_subfolders(root / name) for name in alike):
        raise UserError(
            f"{root} seems to hold splits ({', '.join(alike)}); name them train/, valid/ and test/"
        )


def _find_classes(root: Path, seed: int) -> ImageSet:
    folders = [(folder, *_files(folder)) for folder in _subfolders(root)]
    others = [path for path in sorted(root.iterdir()) if path.is_file()]
    others += [path for _, _, rest in folders for path in rest]
    classes = tuple(folder.name for folder, images, _ in folders if images)
    labels = {name: label for label, name in enumerate(classes)}
    samples = tuple(Sample(path, labels[folder.name]) for folder, images, _ in folders for path in images)
    splits = _deal(samples, {"valid": VALID_SHARE, "test": TEST_SHARE}, classes, seed)
    return _image_set(root, classes, splits, SPLITS, others)


def _image_set(
    root: Path,
    classes: tuple[str, ...],
    splits: dict[str, tuple[Sample, ...]],
    drawn: tuple[str, ...],
    others: Iterable[Path],
) -> ImageSet:
    names = tuple(path.relative_to(root).as_posix() for path in others)
    return ImageSet(
        name=root.resolve().name, root=root, classes=classes, splits=splits, drawn=drawn, others=names
    )


def _deal(
    samples: tuple[Sample, ...], shares: dict[str, float], classes: tuple[str, ...], seed: int
) -> dict[str, tuple[Sample, ...]]:
    """Deal samples out to `train` and to the splits of `shares`, class by class.

    scikit-learn's stratified split refuses classes of one or two images; here train is served first, then the
    largest share, so that a class of three is in all splits. A class's draw hangs on the seed and its own name
    alone: adding a class leaves the others where they were.
    """
    dealt: dict[str, list[Sample]] = {split: [] for split in SPLITS if split in shares or split == "train"}
    for label, name in enumerate(classes):
        members = [sample for sample in samples if sample.label == label]
        rng = np.random.default_rng([seed, zlib.crc32(os.fsencode(name))])
        shuffled = [members[i] for i in rng.permutation(len(members))]
        for split, share in sorted(shares.items(), key=lambda item: -item[1]):
            count = min(max(1, round(share * len(members))), len(shuffled) - 1)
            dealt[split] += shuffled[:count]
            shuffled = shuffled[count:]
        dealt["train"] += shuffled
    return {split: tuple(sorted(part, key=lambda s: (s.label, s.path))) for split, part in dealt.items()}


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Images and other files below a class folder, at any depth, in the order of their names."""
    paths = []
    for where, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(where) / name for name in names]
    paths.sort()
    images = [path for path in paths if path.suffix.lower() in EXTENSIONS and _is_image_name(path)]
    taken = set(images)
    return images, [path for path in paths if path not in taken]


def _raise(error: OSError) -> NoReturn:
    raise error  # os.walk would pass over a folder that can't be read, and its class be gone without a word


def _is_image_name(path: Path) -> bool:
    # macOS leaves "._photo.jpg" beside photo.jpg on foreign disks; a FIFO with an image's name would block.
    return not path.name.startswith(".") and path.is_file()


def _check(found: ImageSet) -> None:
    if not found.samples():
        kinds = ", ".join(sorted(EXTENSIONS))
        raise UserError(f"no images in {found.root}; class folders with {kinds} files are wanted")
    trained = {sample.label for sample in found.splits["train"]}
    empty = [name for label, name in enumerate(found.classes) if label not in trained]
    if empty and len(trained) >= 2:
        raise UserError(f"class {empty[0]!r} has no image in train/; add some, or take its folder out")
    if len(trained) < 2:
        raise UserError(
            f"{found.root} has fewer than two classes with images; a comparison needs at least two"
        )
    for split in SPLITS:
        if not found.splits[split]:
            raise UserError(f"the {split} split of {found.root} has no images; add some")
