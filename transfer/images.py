"""Image sets: folders of labelled images, found and split.

N: images. M: images of one class.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, overload

import numpy as np
import numpy.typing as npt

from transfer.config import UserError
from transfer.data.groups import assign_groups
from transfer.data.splits import SPLITS as SPLITS
from transfer.data.splits import draw_split
from transfer.decode import EXTENSIONS
from transfer.leases import Lease
from transfer.names import Names, Rows

VALID_NAMES = ("valid", "val", "validation")
SPLIT_NAMES = {"train", "training", "test", "testing", *VALID_NAMES}
DRAWN_SHARES = {"valid": 0.1, "test": 0.2}


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
    group_N: npt.NDArray[np.int32] | None = None
    """Indices into the groups of the image set; None without groups."""

    @classmethod
    def join(cls, root: Path, parts: Iterable[Samples]) -> Samples:
        """The samples of all `parts`, which have the same root, in turn."""
        parts = list(parts)
        groups = [part.group_N for part in parts if part.group_N is not None]
        return cls(
            root,
            Names.join(part.names for part in parts),
            np.concatenate([np.empty(0, np.int32), *(part.label_N for part in parts)]),
            np.concatenate(groups) if groups else None,
        )

    def select(self, rows: Rows) -> Samples:
        """Some of the samples."""
        group_N = None if self.group_N is None else self.group_N[rows]
        return Samples(self.root, self.names.select(rows), self.label_N[rows], group_N)

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
    groups: tuple[str, ...] = ()
    """What the names of each group's images share; empty without groups."""
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


def find(root: Path, *, seed: int = 0, groups: str | None = None) -> ImageSet:
    """Find the image set in a folder: `train/ valid/ test/` of class folders, or class folders alone.

    A missing `valid` is drawn from `train`, and class folders alone are split 70/10/20: stratified, and the
    same for the same `seed`. Order follows the names.

    Parameters
    ----------
    root : Path
        The folder.
    seed : int
        Seed of what is drawn.
    groups : str, optional
        Regular expression on file names, as for `assign_groups`. Images of a group stay together in the splits that
        are drawn; splits that the folder brings stay as they are.

    Raises
    ------
    UserError
        If the folder can't serve, or the groups can't.
    """
    if not root.is_dir():
        raise UserError(f"no such folder: {root}; give a folder of class folders, or lagoon")
    train = root / "train"
    if train.is_dir() and ((root / "test").is_dir() or _subfolders(train)):
        classes, splits, others, empty = _find_splits(root)
    else:
        _refuse_split_names(root)
        classes, splits, others, empty = _find_classes(root)
    labels: tuple[str, ...] = ()
    if groups is not None and any(splits.values()):
        splits, labels = _group(root, splits, groups)
    drawn = tuple(split for split in SPLITS[1:] if split not in splits)
    splits |= _draw(splits["train"], drawn, classes, seed)
    found = ImageSet(
        name=root.resolve().name,
        root=root,
        classes=classes,
        splits=splits,
        groups=labels,
        drawn=SPLITS if "test" in drawn else drawn,
        others=tuple(others),
        empty_classes=tuple(empty),
    )
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


def _find_splits(root: Path) -> tuple[tuple[str, ...], dict[str, Samples], list[str], list[str]]:
    """Return the classes, the splits that there are, other files, and classes without an image."""
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
    return classes, splits, others, sorted(empty)


def _refuse_split_names(root: Path) -> None:
    """Raise `UserError` for Train/ and Test/, or test/ without train/: taken for classes they would "work"."""
    alike = [folder.name for folder in _subfolders(root) if folder.name.casefold() in SPLIT_NAMES]
    if len(alike) > 1 and all(_subfolders(root / name) for name in alike):
        raise UserError(
            f"{root} seems to hold splits ({', '.join(alike)}); name them train/, valid/ and test/"
        )


def _find_classes(root: Path) -> tuple[tuple[str, ...], dict[str, Samples], list[str], list[str]]:
    """Return the classes, all images as `train`, other files, and classes without an image."""
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
    return tuple(found), {"train": samples}, others, empty


def _labelled(root: Path, names: Names, label: int) -> Samples:
    return Samples(root, names, np.full(len(names), label, np.int32))


def _group(
    root: Path, splits: dict[str, Samples], pattern: str
) -> tuple[dict[str, Samples], tuple[str, ...]]:
    """Return the splits with groups, which are made over all of them, and the groups' labels."""
    groups = assign_groups(Samples.join(root, splits.values()).names, pattern)
    ends = np.cumsum([len(samples) for samples in splits.values()])[:-1]
    parts = zip(splits.items(), np.split(groups.codes_N, ends), strict=True)
    return {split: replace(samples, group_N=group_N) for (split, samples), group_N in parts}, groups.labels


def _draw(samples: Samples, missing: Sequence[str], classes: Sequence[str], seed: int) -> dict[str, Samples]:
    """Draw the missing splits from the samples; what is left is `train`."""
    if not missing:
        return {}
    whole = 1.0 if "test" in missing else 1 - DRAWN_SHARES["test"]
    shares = {split: share / whole for split, share in DRAWN_SHARES.items() if split in missing}
    split_N = draw_split(samples.label_N, shares, classes=classes, seed=seed, groups_N=samples.group_N)
    return {split: samples.select(split_N == SPLITS.index(split)) for split in ("train", *missing)}


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
    drawn = {label for split in found.drawn for label in found.splits[split].label_N.tolist()}
    lost = [found.classes[label] for label in sorted(drawn - trained)]
    if lost:
        raise UserError(
            f"with these groups class {lost[0]!r} has no image left for training; give --groups that makes "
            "smaller groups, or take the class out"
        )
    if empty and len(trained) >= 2:
        raise UserError(f"class {empty[0]!r} has no image in train/; add some, or take its folder out")
    if len(trained) < 2:
        raise UserError(
            f"{found.root} has fewer than two classes with images; a comparison needs at least two"
        )
    for split in SPLITS:
        if not found.splits[split]:
            raise UserError(f"the {split} split of {found.root} has no images; add some")
