"""Layout of a folder of images: split folders of class folders, or class folders alone."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from transfer.data.listing import Folder, Listing
from transfer.system.errors import UserError
from transfer.system.run_files import CURVE, FRONTIER, RECORD, RESULT

VALID_NAMES = ("valid", "val", "validation")
# Files of an output folder: in a folder of images it is no class folder, whatever pictures are in it.
OUTPUT_FILES = (RESULT, RECORD, CURVE, FRONTIER)

# What a word of a folder's name says about the split it holds. Alone it says nothing: "Trains" may be a class.
_SPLIT_WORDS = {
    "train": re.compile(r"^train|train$"),
    "valid": re.compile(r"^valid|valid$|^(val|vals|valset|valdata|dev|devset|devel|development)$"),
    "test": re.compile(r"^test|test$"),
    "other": re.compile(r"^(pred|eval|infer|holdout|fold|split)"),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def is_output(folder: Path) -> bool:
    """Return whether a run wrote its result, its curve, its models or its comparison of several to a folder."""
    return any((folder / name).is_file() for name in OUTPUT_FILES)


def same_name(name: str) -> str:
    """Return a name in Unicode NFC, in which names that look the same are equal."""
    return unicodedata.normalize("NFC", name)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name most similar to `name`, ignoring case; None if none is similar."""
    by_form = {same_name(other).casefold(): other for other in names}
    found = difflib.get_close_matches(same_name(name).casefold(), by_form, n=1)
    return by_form[found[0]] if found else None


def split_of(name: str) -> str | None:
    """Return the split that a folder's name suggests: train, valid, test or other; None if it suggests none."""
    words = [word.lower() for word in _WORD.findall(name)]
    for split, pattern in _SPLIT_WORDS.items():
        if any(pattern.search(word) for word in words):
            return split
    return None


def split_folders(listing: Listing, root: Path) -> dict[str, str]:
    """Find the split folders of an image set.

    Parameters
    ----------
    listing : Listing
        All files below the folder.
    root : Path
        The folder, for messages.

    Returns
    -------
    dict of str to str
        The folder's name for each split that the image set brings; empty for class folders alone.

    Raises
    ------
    UserError
        If the folders seem to be splits but their names do not say which, or if other folders hold classes too.
    """
    folders = listing.folders
    if "train" not in folders or not ("test" in folders or folders["train"].subfolders):
        _refuse_other_names(folders, root)
        return {}
    if "test" not in folders:
        like = next((name for name in folders if split_of(name) == "test"), None)
        add = f"name {like}/ test/" if like else "add test/"
        raise UserError(f"{root} has train/ but no test/; {add}, or give one folder of class folders")
    valid = [name for name in VALID_NAMES if name in folders]
    if not valid:
        valid = [name for name in folders if split_of(name) == "valid" and _has_class_folders(folders[name])]
    if len(valid) > 1:
        raise UserError(f"{root} has both {valid[0]}/ and {valid[1]}/; keep one of them")
    found = {"train": "train", "test": "test", **({"valid": valid[0]} if valid else {})}
    for name in found.values():
        place, classes = _class_names(folders[name], name)
        if place != name and classes:
            raise UserError(f"{name}/ has its class folders in {place}/; move them up into {name}/")
    _refuse_unused(folders, found)
    return found


def _refuse_unused(folders: Mapping[str, Folder], used: Mapping[str, str]) -> None:
    """Raise `UserError` if a folder next to the splits holds images of their classes."""
    classes = {same_name(name) for name in folders["train"].subfolders}
    for name in folders:
        if name not in used.values() and not classes.isdisjoint(_class_names(folders[name], name)[1]):
            mend = "move it away" if "valid" in used else "name it valid/, or move it away"
            raise UserError(f"{name}/ holds class folders too, beside {', '.join(used.values())}; {mend}")


def _refuse_other_names(folders: Mapping[str, Folder], root: Path) -> None:
    """Raise `UserError` for Train/ and Test/, or any folders of the same classes, which would count as classes."""
    nested = {}
    for name, folder in folders.items():
        place, classes = _class_names(folder, name)
        if classes:
            nested[name] = place, classes
    named = [name for name in folders if split_of(name) and folders[name].n_images]
    alike = _alike({name: classes for name, (_, classes) in nested.items()})
    if len(named) >= 2 and set(named) & set(nested):
        found = named
    elif len(alike) >= 2 and (set(alike) & set(named) or _are_all_splits(alike, folders, nested)):
        found = list(dict.fromkeys([*alike, *named]))
    else:
        return
    order = [*_SPLIT_WORDS, None]
    found = sorted(found, key=lambda name: order.index(split_of(name)))
    places = ", ".join(nested[name][0] if name in nested else name for name in found)
    raise UserError(f"{root} seems to hold splits ({places}); name them train/, valid/ and test/")


def _are_all_splits(
    alike: list[str], folders: Mapping[str, Folder], nested: Mapping[str, tuple[str, set[str]]]
) -> bool:
    """Return whether folders with names that suggest nothing are splits, judged by their subfolders alone.

    Years, days and cameras within classes look the same: numbered subfolders prove nothing.
    """
    with_images = [name for name in folders if folders[name].n_images]
    shared = set.intersection(*(nested[name][1] for name in alike))
    return len(alike) == len(with_images) and not all(re.search(r"\d", name) for name in shared)


def _alike(classes: Mapping[str, set[str]]) -> list[str]:
    """Return the folders that share at least two, and most, of their subfolders' names with the largest of them."""
    if not classes:
        return []
    largest = max(classes.values(), key=len)
    return [name for name, own in classes.items() if len(own & largest) >= max(2, (len(own) + 1) // 2)]


def _has_class_folders(folder: Folder) -> bool:
    return any(len(files.images) for files in folder.subfolders.values())


def _class_names(folder: Folder, name: str) -> tuple[str, set[str]]:
    """Return where the class folders of a split lie (itself, or a single folder of its own name), and their names.

    No names are returned if a tenth of the images or more lie in no subfolder.
    """
    subfolders = {own: files.images for own, files in folder.subfolders.items() if len(files.images)}
    images = folder.n_images
    if not subfolders or 10 * len(folder.own.images) >= images:
        return name, set()
    if list(subfolders) == [name]:
        parts = (path.split("/") for path in subfolders[name])
        inner = Counter(part[2] if len(part) > 3 else "" for part in parts)
        if 10 * inner.pop("", 0) < images:
            return f"{name}/{name}", {same_name(own) for own in inner}
        return f"{name}/{name}", set()
    return name, {same_name(own) for own in subfolders}
