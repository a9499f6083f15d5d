"""Image sets: folders of labelled images, found and split.

N: images. M: images of one class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from transfer.config import ARRAYS, TABLES
from transfer.data.class_folders import ClassFolders, find_class_folders
from transfer.data.copies import are_torn, join_groups
from transfer.data.groups import assign_groups
from transfer.data.names import Names, Rows
from transfer.data.random_splits import SPLITS, Codes, Indices, SplitCodes
from transfer.data.splits import draw_split
from transfer.data.user_paths import folders_in, image_suffixes
from transfer.system.errors import UserError

DRAWN_SHARES = {"valid": 0.1, "test": 0.2}


@dataclass(frozen=True)
class Sample:
    """A labelled image: its file and the index of its class."""

    path: Path
    label: int


@dataclass(frozen=True, eq=False)
class Samples(Sequence[Sample]):
    """A sequence of labelled images in little memory; a `Sample` is created on access."""

    root: Path
    names: Names
    """Relative to the root."""
    label_N: npt.NDArray[np.int32]
    group_N: npt.NDArray[np.int32] | None = None
    """Indices into the groups of the image set; None without groups."""

    @classmethod
    def join(cls, root: Path, parts: Iterable[Samples]) -> Samples:
        """Concatenate the samples of all `parts`, which have the same root."""
        parts = list(parts)
        groups = [part.group_N for part in parts if part.group_N is not None]
        return cls(
            root,
            Names.join(part.names for part in parts),
            np.concatenate([np.empty(0, np.int32), *(part.label_N for part in parts)]),
            np.concatenate(groups) if groups else None,
        )

    def select(self, rows: Rows) -> Samples:
        """Return the samples of some rows: indices, a mask or a slice."""
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
    """Name of each group: the text that its images' names share; empty without groups."""
    drawn: tuple[str, ...] = ()
    """The splits that were drawn from others, because the folder does not have them."""
    others: tuple[str, ...] = ()
    """Files that are not images and not used; relative to the root."""
    empty_classes: tuple[str, ...] = ()
    """Names of class folders without an image in any split, which are not classes."""
    seed: int = 0
    """Seed of the splits that were drawn."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Files that a table names and that are left out, and the reason."""
    lock: object | None = None
    """Of the built-in images: pruning does not delete them while this object lives."""

    def samples(self) -> Samples:
        """Return all samples: train, then valid, then test."""
        return Samples.join(self.root, [self.splits[split] for split in SPLITS])


def find(root: Path, *, seed: int = 0, groups: str | None = None) -> ImageSet:
    """Find the image set in a folder: `train/ valid/ test/` of class folders, or class folders alone.

    A missing `valid` is drawn from `train`, and class folders alone are split 70/10/20: stratified, and the
    same for the same `seed`. Images are in the order of their names. Folders without an image and files that are not
    used are named in a logged warning.

    Parameters
    ----------
    root : Path
        The folder.
    seed : int
        Seed of the splits that are drawn.
    groups : str, optional
        Regular expression on file names, as for `assign_groups`. Images of a group stay together in the splits that
        are drawn; splits that the folder brings stay as they are.

    Returns
    -------
    ImageSet

    Raises
    ------
    UserError
        If the folder or the groups can't be used.
    """
    if not root.is_dir():
        what = f"{root} is a file" if root.is_file() else f"no such folder: {root}"
        wanted = f"a folder of class folders, a table ({', '.join(TABLES)}), features ({ARRAYS}), or lagoon"
        raise UserError(f"{what}; give {wanted}")
    found = find_class_folders(root)
    splits = {
        split: Samples.join(root, [_labelled(root, names, label) for label, names in parts])
        for split, parts in found.splits.items()
    }
    labels: tuple[str, ...] = ()
    if groups is not None and any(splits.values()):
        splits, labels = _group(root, splits, groups)
    drawn = tuple(split for split in SPLITS[1:] if split not in splits)
    splits |= _draw(splits["train"], drawn, found.classes, seed)
    image_set = ImageSet(
        name=root.resolve().name,
        root=root,
        classes=tuple(found.classes),
        splits=splits,
        groups=labels,
        drawn=SPLITS if "test" in drawn else drawn,
        others=tuple(found.others),
        empty_classes=tuple(sorted(found.empty - set(found.classes))),
        seed=seed,
    )
    _check(image_set, found)
    found.warn()
    return image_set


def redraw(
    image_set: ImageSet, samples: Samples, split_N: SplitCodes, copies_N: Codes
) -> tuple[Indices, SplitCodes]:
    """Draw the splits that the folder does not bring again, keeping copies of an image in one split.

    Parameters
    ----------
    image_set : ImageSet
        As it was found, before the contents of its files were known.
    samples : Samples
        Those of its samples that can be read.
    split_N : ndarray of shape (N,), uint8
        Their splits, as indices into `SPLITS`.
    copies_N : ndarray of shape (N,)
        Codes that are equal for copies of one image.

    Returns
    -------
    order_N : ndarray of shape (N,)
        Indices of the samples, split after split.
    split_N : ndarray of shape (N,), uint8
        The splits in that order. The same as before if no copies lie in different splits.
    """
    missing = [split for split in SPLITS[1:] if split in image_set.drawn]
    pool_N = np.isin(split_N, [SPLITS.index(split) for split in ("train", *missing)])
    if not missing or not are_torn(copies_N[pool_N], split_N[pool_N]):
        return np.arange(len(split_N)), split_N
    # In the order of names, as when they were drawn first: classes without copies are split as before.
    pool_M = np.array(sorted(np.flatnonzero(pool_N), key=lambda row: samples.names[int(row)].split("/")))
    split_N = split_N.copy()
    split_N[pool_M] = draw_codes(
        samples.select(pool_M), missing, image_set.classes, image_set.seed, copies_N[pool_M]
    )
    order_N = np.concatenate([pool_M, np.flatnonzero(~pool_N)])
    order_N = order_N[np.argsort(split_N[order_N], kind="stable")]
    return order_N, split_N[order_N]


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
    split_N = draw_codes(samples, missing, classes, seed)
    return {split: samples.select(split_N == SPLITS.index(split)) for split in ("train", *missing)}


def check_classes_drawn(found: ImageSet) -> None:
    """Raise `UserError` where drawing whole groups left a class without training images."""
    trained = set(found.splits["train"].label_N.tolist())
    drawn = {label for split in found.drawn for label in found.splits[split].label_N.tolist()}
    if lost := [found.classes[label] for label in sorted(drawn - trained)]:
        raise UserError(
            f"with these groups class {lost[0]!r} has no image left for training; give `groups` that makes "
            "smaller groups, or take the class out"
        )


def check_splits_drawn(found: ImageSet, path: Path) -> None:
    """Raise `UserError`, which names the path of the data, where a split that was drawn has no images."""
    for split in found.drawn:
        if not found.splits[split]:
            shared = {"train", *found.drawn}
            labels_N = Samples.join(found.root, [found.splits[name] for name in shared]).label_N
            counts = np.bincount(labels_N, minlength=len(found.classes))
            name = found.classes[int(counts.argmin())]
            reason = (
                f"classes need {len(shared)} images or more; {name!r} has {counts.min()}"
                if counts.min() < len(shared)
                else "copies of an image and images of a group stay in one split; add others"
            )
            raise UserError(f"the {split} split of {path} has no images; {reason}")


def draw_codes(
    samples: Samples,
    missing: Sequence[str],
    classes: Sequence[str],
    seed: int,
    copies_N: Codes | None = None,
) -> SplitCodes:
    """Draw the missing splits (N,), as indices into `SPLITS`, from the samples; copies of one stay together."""
    whole = 1.0 if "test" in missing else 1 - DRAWN_SHARES["test"]
    shares = {split: share / whole for split, share in DRAWN_SHARES.items() if split in missing}
    groups_N: Codes | None = samples.group_N
    if groups_N is not None and copies_N is not None:
        groups_N = join_groups(groups_N, copies_N)
    return draw_split(
        samples.label_N, shares, classes=classes, seed=seed, groups_N=groups_N, copies_N=copies_N
    )


def _check(found: ImageSet, folders: ClassFolders) -> None:
    if not any(found.splits.values()):
        reason = folders.describe_empty("train")
        if not folders_in(found.root):
            reason += f", or give {found.root.absolute().parent} if {found.root.name} is one of the classes"
        raise UserError(
            f"no images in {found.root} ({reason}); class folders with {image_suffixes()} files are wanted"
        )
    trained = set(found.splits["train"].label_N.tolist())
    empty = [name for label, name in enumerate(found.classes) if label not in trained]
    check_classes_drawn(found)
    if empty and len(trained) >= 2:
        reason = folders.lost.get(f"train/{empty[0]}", "")
        raise UserError(
            f"class {empty[0]!r} has no image in train/ ({reason}); add some, or take its folder out"
        )
    if len(trained) < 2:
        inside = found.root / found.classes[0]
        reason = next(iter(folders.lost.values()), "")
        if len(found.classes) == 1 and len(folders_in(inside)) >= 2:
            reason = f"did you mean {inside}?"
        raise UserError(
            f"{found.root} has fewer than two classes with images{reason and f' ({reason})'}; "
            "a comparison needs at least two"
        )
    for split in SPLITS:
        if not found.splits[split] and split not in found.drawn:
            reason = folders.describe_empty(split)
            raise UserError(f"the {split} split of {found.root} has no images; {reason}")
    check_splits_drawn(found, found.root)
