"""Image sets: folders of labelled images, found and split.

N: images. M: images of one class.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, overload

import numpy as np
import numpy.typing as npt

from transfer.config import UserError
from transfer.decode import EXTENSIONS
from transfer.leases import Lease
from transfer.names import Names, Rows

SPLITS = ("train", "valid", "test")
VALID_NAMES = ("valid", "val", "validation")
SPLIT_NAMES = {"train", "training", "test", "testing", *VALID_NAMES}
VALID_SHARE, TEST_SHARE = 0.1, 0.2


@dataclass(frozen=True)
class Sample:
    """One labelled image: its file and the index of its class."""

    path: Path
    label: int


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Sample]):
    """Labelled images in little memory; a `Sample` is made when it is asked for."""

    root: Path
    names: Names
    """Relative to the root."""
    label_N: npt.NDArray[np.int32]

    @classmethod
    def join(cls, root: Path, parts: Iterable[Samples]) -> Samples:
        """The samples of all `parts`, which have the same root, in turn."""
        parts = [cls(root, Names.of(()), np.empty(0, np.int32)), *parts]
        labels = [part.label_N for part in parts]
        return cls(root, Names.join(part.names for part in parts), np.concatenate(labels))

    def select(self, rows: Rows) -> Samples:
        """Some of the samples."""
        return Samples(self.root, self.names.select(rows), self.label_N[rows])

    def __len__(self) -> int:
        return len(self.label_N)

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> Samples: ...
    def __getitem__(self, at: int | slice) -> Sample | Samples:
        if isinstance(at, slice):
            return self.select(at)
        return Sample(self.root / self.names[at], int(self.label_N[at]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Samples) and list(self) == list(other)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Labelled images in the splits train, valid and test."""

    name: str
    root: Path
    classes: tuple[str, ...]
    splits: dict[str, Samples]
    drawn: tuple[str, ...] = ()
    """The splits that were drawn from others, because the folder does not have them."""
    others: tuple[str, ...] = ()
    """Files that are no images, left alone; relative to the root."""
    empty_classes: tuple[str, ...] = ()
    """Names of class folders that hold no image in any split, and so are no class."""
    lease: Lease | None = None
    """Where the images are the program's own: pruning leaves them alone as long as this lives."""

    def samples(self) -> Samples:
        """All samples: train, then valid, then test."""
        return Samples.join(self.root, [self.splits[split] for split in SPLITS])


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


def below(given: Iterable[Path]) -> list[Path]:
    """The files among `given`, and in place of each folder the images in it at any depth, in the order of names.

    Raises `UserError` for a folder without images.
    """
    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        names, _ = _files(path, path)
        if not names:
            raise UserError(f"no images in {path}; {', '.join(sorted(EXTENSIONS))} files are wanted")
        found += sorted(path / name for name in names)
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
    splits: dict[str, Samples] = {}
    empty: set[str] = set()
    others = _loose_files(root, root)
    for split, folder in folders.items():
        parts: list[Samples] = []
        others += _loose_files(folder, root)
        for class_folder in _subfolders(folder):
            names, rest = _files(class_folder, root)
            if names and class_folder.name not in labels:
                raise UserError(
                    f"class {class_folder.name!r} is in {folder.name}/ but not in train/; "
                    "add training images of it, or take it out"
                )
            if names:
                parts.append(_labelled(root, names, labels[class_folder.name]))
            elif class_folder.name not in labels:
                empty.add(class_folder.name)
            others += rest
        splits[split] = Samples.join(root, parts)
    if not valid:
        splits |= _deal(splits["train"], {"valid": VALID_SHARE / (1 - TEST_SHARE)}, classes, seed)
    drawn = () if valid else ("valid",)
    return _image_set(root, classes, splits, drawn, others, sorted(empty))


def _refuse_split_names(root: Path) -> None:
    """Raise `UserError` for Train/ and Test/, or test/ without train/: taken for classes they would "work"."""
    alike = [folder.name for folder in _subfolders(root) if folder.name.casefold() in SPLIT_NAMES]
    if len(alike) > 1 and all(_subfolders(root / name) for name in alike):
        raise UserError(
            f"{root} seems to hold splits ({', '.join(alike)}); name them train/, valid/ and test/"
        )


def _find_classes(root: Path, seed: int) -> ImageSet:
    others = _loose_files(root, root)
    found: dict[str, Names] = {}
    empty: list[str] = []
    for folder in _subfolders(root):
        names, rest = _files(folder, root)
        others += rest
        if names:
            found[folder.name] = names
        else:
            empty.append(folder.name)
    samples = Samples.join(
        root, [_labelled(root, names, label) for label, names in enumerate(found.values())]
    )
    splits = _deal(samples, {"valid": VALID_SHARE, "test": TEST_SHARE}, tuple(found), seed)
    return _image_set(root, tuple(found), splits, SPLITS, others, empty)


def _labelled(root: Path, names: Names, label: int) -> Samples:
    return Samples(root, names, np.full(len(names), label, np.int32))


def _image_set(
    root: Path,
    classes: tuple[str, ...],
    splits: dict[str, Samples],
    drawn: tuple[str, ...],
    others: Iterable[str],
    empty_classes: Iterable[str],
) -> ImageSet:
    return ImageSet(
        name=root.resolve().name,
        root=root,
        classes=classes,
        splits=splits,
        drawn=drawn,
        others=tuple(others),
        empty_classes=tuple(empty_classes),
    )


def _deal(
    samples: Samples, shares: dict[str, float], classes: tuple[str, ...], seed: int
) -> dict[str, Samples]:
    """Deal samples out to `train` and to the splits of `shares`, class by class.

    scikit-learn's stratified split refuses classes of one or two images; here train is served first, then the
    largest share, so that a class of three is in all splits. A class's draw hangs on the seed and its own name
    alone: adding a class leaves the others where they were.
    """
    dealt_N = np.full(len(samples), SPLITS.index("train"), np.uint8)
    for label, name in enumerate(classes):
        rng = np.random.default_rng([seed, zlib.crc32(os.fsencode(name))])
        member_M = np.flatnonzero(samples.label_N == label)
        count = len(member_M)
        member_M = member_M[rng.permutation(count)]
        for split, share in sorted(shares.items(), key=lambda item: -item[1]):
            taken = min(max(1, round(share * count)), len(member_M) - 1)
            dealt_N[member_M[:taken]] = SPLITS.index(split)
            member_M = member_M[taken:]
    dealt = [split for split in SPLITS if split in shares or split == "train"]
    return {split: samples.select(dealt_N == SPLITS.index(split)) for split in dealt}


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _loose_files(folder: Path, root: Path) -> list[str]:
    """Files beside the class folders, relative to the root."""
    return [path.relative_to(root).as_posix() for path in sorted(folder.iterdir()) if path.is_file()]


def _files(folder: Path, root: Path) -> tuple[Names, list[str]]:
    """Images and other files below a class folder, at any depth, in the order of their names.

    Both are relative to the root. Names are compared part by part, as paths are: `a/b` before `a-1/b`.
    """
    found: list[str] = []
    # os.walk alone would call itself, and folders may be nested more deeply than that goes.
    waiting = [folder]
    while waiting:
        where, folders, names = next(os.walk(waiting.pop(), onerror=_raise))
        inside = Path(where)
        below = (inside / name for name in folders if not name.startswith("."))
        waiting += [path for path in below if not path.is_symlink()]
        found += [f"{inside.relative_to(root).as_posix()}/{name}" for name in names]
    found.sort(key=lambda name: name.split("/"))
    images: list[str] = []
    others: list[str] = []
    for name in found:
        (images if _is_image(root / name) else others).append(name)
    return Names.of(images), others


def _raise(error: OSError) -> NoReturn:
    raise error  # os.walk would pass over a folder that can't be read, and its class be gone without a word


def _is_image(path: Path) -> bool:
    # macOS leaves "._photo.jpg" beside photo.jpg on foreign disks; a FIFO with an image's name would block.
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def _check(found: ImageSet) -> None:
    if not any(found.splits.values()):
        kinds = ", ".join(sorted(EXTENSIONS))
        raise UserError(f"no images in {found.root}; class folders with {kinds} files are wanted")
    trained = set(found.splits["train"].label_N.tolist())
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
