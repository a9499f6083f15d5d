"""Groups of images that splits keep together: one video, one day, one patient, recognised by file names.

N: images. G: groups. C: classes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transfer.config import compile_pattern
from transfer.system.errors import UserError

_DAY = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_DAY_IN_PARTS = r"(?:19|20)\d\d[-_.](?:0[1-9]|1[0-2])[-_.](?:0[1-9]|[12]\d|3[01])"
_TIME = r"[-_T]?(?:[01]\d|2[0-3])[0-5]\d"
# What all names of a family match, and the pattern that makes groups of them; the coarsest groups come first.
_FAMILIES = (
    (rf"^{_DAY}(?:\D|{_TIME})", r"^\d{8}"),
    (rf"^\D+{_DAY}(?:\D|{_TIME})", r"\d{8}"),
    (rf"^\D*{_DAY_IN_PARTS}(?!\d)", r"\d{4}[-_.]\d\d[-_.]\d\d"),
    (rf"^{_DAY}[-_T]{_TIME}", r"^\d{8}.\d\d"),
    # A running number at the end is not enough (IMG_0001): what is before it has a number or a word of its own.
    (r"(?:\d\D+|frame\D?|slice\D?)\d+\.\w+$", r"^(.*?)\d+\.\w+$"),
)


class Groups(NamedTuple):
    """The group of each image."""

    codes_N: npt.NDArray[np.int32]
    """Indices into `labels`."""
    labels: tuple[str, ...]
    """The text that the images of a group share, in order."""


class GroupSuggestion(NamedTuple):
    """A pattern that makes useful groups."""

    pattern: str
    groups: int


def assign_groups(names: Sequence[str], pattern: str) -> Groups:
    r"""Group images by their file names.

    Parameters
    ----------
    names : sequence of str
        Paths of the images, with `/` between folders. Only the file name counts.
    pattern : str
        Regular expression that is searched in each file name. The images of a group agree in the text of its first
        group in parentheses, or of the whole match if it has none: `^\d{8}` makes a group of each day if names
        begin as `20130412_071134`.

    Returns
    -------
    Groups

    Raises
    ------
    UserError
        If the pattern is not a regular expression, does not match some names, or makes one group of all images or
        a group of every image.
    """
    expression = compile_pattern(pattern)
    key = 1 if expression.groups else 0
    codes: dict[str, int] = {}
    code_N = np.full(len(names), -1, np.int32)
    for i, name in enumerate(names):
        found = expression.search(_file_name(name))
        if found and found[key]:
            code_N[i] = codes.setdefault(found[key], len(codes))
    _check(pattern, names, code_N, len(codes))
    labels = sorted(codes)
    rank_G = np.empty(len(labels), np.int32)
    rank_G[[codes[label] for label in labels]] = np.arange(len(labels))
    return Groups(rank_G[code_N], tuple(labels))


def suggest_groups(names: Sequence[str], labels_N: npt.NDArray[np.integer]) -> GroupSuggestion | None:
    """Suggest a pattern for names that look like days, moments or frames of videos.

    A suggestion has been applied to the names. It makes at least two groups, none with more than half of the images,
    fewer groups than half of the images, and at least two groups in most classes: if the groups were the classes,
    nothing could be compared.

    Parameters
    ----------
    names : sequence of str
        Paths of the images, with `/` between folders.
    labels_N : ndarray of shape (N,)
        Class of each image.

    Returns
    -------
    GroupSuggestion or None
    """
    for evidence, pattern in _FAMILIES:
        expression = re.compile(evidence)
        if len(names) and all(expression.search(_file_name(name)) for name in names):
            try:
                groups = assign_groups(names, pattern)
            except UserError:
                continue
            if _are_useful(groups, labels_N):
                return GroupSuggestion(pattern, len(groups.labels))
    return None


def _file_name(name: str) -> str:
    return name[name.rfind("/") + 1 :]


def _check(pattern: str, names: Sequence[str], code_N: npt.NDArray[np.int32], groups: int) -> None:
    unmatched_M = np.flatnonzero(code_N < 0)
    if len(unmatched_M):
        first = _file_name(names[int(unmatched_M[0])])
        raise UserError(
            f"`groups` '{pattern}' finds nothing in {len(unmatched_M):,} of {len(names):,} file names, the first "
            f"is {first!r}; give a regular expression that finds the group in every file name"
        )
    if groups < 2 or groups == len(names):
        made = "one group of all" if groups < 2 else "a group of each of"
        raise UserError(
            f"`groups` '{pattern}' makes {made} {len(names):,} images; give a regular expression that finds "
            "what the images of a group share"
        )


def _are_useful(groups: Groups, labels_N: npt.NDArray[np.integer]) -> bool:
    images, n_groups = len(labels_N), len(groups.labels)
    pair_P = np.unique(labels_N.astype(np.int64) * n_groups + groups.codes_N)
    groups_C = np.bincount(np.unique(pair_P // n_groups, return_inverse=True)[1])
    largest = int(np.bincount(groups.codes_N).max())
    return 2 * n_groups < images and 2 * largest <= images and 2 * int((groups_C > 1).sum()) > len(groups_C)
