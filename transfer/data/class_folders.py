"""Class folders of a listing: the images of each class in each split, and what lies there and is not used."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from transfer.data.listing import Files, describe_suffixes, list_files
from transfer.data.names import Names
from transfer.data.split_folders import OUTPUT_FILES, nearest, same_name, split_folders
from transfer.system.errors import UserError

# A class folder that loses so large a part of its files is named in a warning.
LOST_SHARE = 0.1
FOLDERS_NAMED = 10
_PUT_IN_CLASSES = "beside class folders; put each into the folder of its class"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ClassFolders:
    """Class folders of an image set: images by split and class, and what is not used."""

    root: Path
    classes: list[str] = field(default_factory=list)
    """Names of the classes, as `train` spells them."""
    splits: dict[str, list[tuple[int, Names]]] = field(default_factory=dict)
    """By split: the index of a class and its images. Class folders alone are all `train`."""
    folders: dict[str, str] = field(default_factory=dict)
    """The folder of each split; empty for class folders alone."""
    others: list[str] = field(default_factory=list)
    """Files that are not used, relative to the root."""
    empty: set[str] = field(default_factory=set)
    """Names of class folders that hold no image in any split."""
    loose: dict[str, str] = field(default_factory=dict)
    """Folders with images outside the class folders, which are not used, and what to do."""
    lost: dict[str, str] = field(default_factory=dict)
    """Description of class folders without an image, or with many files that are not images."""

    def describe_empty(self, split: str) -> str:
        """Return what lies in the folder of a split that has no images, and what to do."""
        folder = f"{self.folders[split]}/" if split in self.folders else f"{self.root}/"
        if folder in self.loose:
            return self.loose[folder]
        inside = folder if split in self.folders else ""
        return next((line for name, line in self.lost.items() if name.startswith(inside)), "add some")

    def warn(self) -> None:
        """Log a warning for each folder with files that are not used."""
        lines = [*self.loose.values(), *self.lost.values()]
        for line in lines[:FOLDERS_NAMED]:
            log.warning("%s", line)
        if len(lines) > FOLDERS_NAMED:
            log.warning("%d more folders hold files that are not used", len(lines) - FOLDERS_NAMED)

    def _add(self, split: str, prefix: str, folders: Iterable[tuple[str, Files]]) -> None:
        """Add the class folders of a split; `train` comes first and says which classes there are."""
        labels = {same_name(name): label for label, name in enumerate(self.classes)}
        found = self.splits.setdefault(split, [])
        for name, files in folders:
            form = same_name(name)
            self.others.extend(files.others)
            self._note_lost(prefix + name, files)
            if form not in labels and files.images and split != "train":
                raise UserError(self._unknown(prefix, name))
            # A folder without images is a class of train/, which is refused, but none where there are no splits.
            if form not in labels and (files.images or (split == "train" and prefix)):
                labels[form] = len(self.classes)
                self.classes.append(name)
            if files.images:
                found.append((labels[form], files.images))
            elif form not in labels:
                self.empty.add(name)

    def _unknown(self, prefix: str, name: str) -> str:
        like = nearest(name, self.classes)
        mend = f"did you mean {like!r}?" if like else "add training images of it, or take it out"
        return f"class {name!r} is in {prefix} but not in train/; {mend}"

    def _leave_out(self, folder: str, files: Files, mend: str = _PUT_IN_CLASSES) -> None:
        """Note files that are not used because of where they lie."""
        self.others.extend([*files.images, *files.others])
        if count := len(files.images):
            self.loose[folder] = f"{folder} holds {count} {'image' if count == 1 else 'images'} {mend}"
        for name in files.not_images:
            if (self.root / name).is_symlink():  # of a class folder, maybe
                self.lost[name] = f"{name} is a link that leads nowhere"

    def _note_lost(self, folder: str, files: Files) -> None:
        images, lost = len(files.images), len(files.not_images)
        if not images:
            self.lost[folder] = f"class folder {folder} has no image: {describe_lost(files, self.root)}"
        elif lost >= LOST_SHARE * (images + lost):
            self.lost[folder] = f"class {folder}: {describe_lost(files, self.root)}"


def find_class_folders(root: Path) -> ClassFolders:
    """Find the classes and splits of a folder of images.

    Parameters
    ----------
    root : Path
        The folder.

    Returns
    -------
    ClassFolders

    Raises
    ------
    UserError
        If it is not clear which folders are splits, or a class of another split is not in `train`.
    """
    listing = list_files(root)
    # Pictures in a folder that a run wrote to are none of the image set.
    outputs = [
        name
        for name, folder in listing.folders.items()
        if not {f"{name}/{file}" for file in OUTPUT_FILES}.isdisjoint(folder.own.not_images)
    ]
    listing = listing.without(outputs)
    folders = split_folders(listing, root)
    if not folders and listing.followed:  # classes are known now, and no linked folder counts twice in one
        listing = list_files(root, once_in=1).without(outputs)
    found = ClassFolders(root, folders=folders, others=[f"{name}/" for name in outputs])
    found._leave_out(f"{root}/", listing.own)
    if not folders:
        found._add("train", "", ((name, folder.all) for name, folder in listing.folders.items()))
        return found
    for split in sorted(folders, key=lambda split: split != "train"):
        folder = listing.folders[folders[split]]
        found._leave_out(f"{folders[split]}/", folder.own)
        found._add(split, f"{folders[split]}/", folder.subfolders.items())
    for name, folder in listing.folders.items():
        if name not in folders.values():
            found._leave_out(f"{name}/", folder.all, "that are not used: it is none of the splits")
    return found


def describe_lost(files: Files, root: Path) -> str:
    """Describe the files that are not images, by suffix."""
    lost = files.not_images
    if lost:
        every = len(lost) + len(files.images)
        return f"{len(lost)} of {every} files are not images: {describe_suffixes(lost, root)}"
    if files.ignored:
        return f"{len(files.ignored)} hidden or system files or folders"
    return "it is empty"
