from __future__ import annotations

import hashlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tests.refusals import refusal
from transfer.data.groups import assign_groups, suggest_groups
from transfer.data.names import Names

NAMES = ["test/a/20130412_071134.jpg", "a/20130304_120000.jpg", "b/20130412_080000.jpg"]


class TestAssignGroups:
    @pytest.mark.parametrize(
        ("pattern", "labels", "codes"),
        [
            (r"^\d{8}", ("20130304", "20130412"), [1, 0, 1]),
            (r"^\d{6}(\d\d)", ("04", "12"), [1, 0, 1]),
            (r"(?:^2013)(04|03)(\d\d)", ("03", "04"), [1, 0, 1]),
            (r"_(0|1)", ("0", "1"), [0, 1, 0]),
        ],
    )
    def test_images_that_agree_in_the_match_are_a_group(
        self, pattern: str, labels: tuple[str, ...], codes: list[int]
    ) -> None:
        groups = assign_groups(NAMES, pattern)
        assert groups.labels == labels
        assert groups.codes_N.tolist() == codes

    def test_names_in_little_memory_are_those_of_a_list(self) -> None:
        kept, listed = assign_groups(Names.of(NAMES), r"^\d{8}"), assign_groups(NAMES, r"^\d{8}")
        assert kept.labels == listed.labels
        np.testing.assert_array_equal(kept.codes_N, listed.codes_N)

    @pytest.mark.parametrize(
        ("pattern", "parts"),
        [
            ("[", ["'['", "unterminated character set", "regular expression"]),
            ("train", ["'train'", "in 3 of 3 file names", "'20130412_071134.jpg'"]),  # not in the folders
            ("^20130412", ["'^20130412'", "in 1 of 3 file names", "'20130304_120000.jpg'"]),
            ("(x)?2013", ["in 3 of 3 file names"]),
            ("x*", ["in 3 of 3 file names"]),
            ("^2013", ["'^2013'", "one group of all 3 images"]),
            (r"^\d+_\d+", ["a group of each of 3 images"]),
        ],
    )
    def test_a_pattern_that_makes_no_groups_is_refused(self, pattern: str, parts: list[str]) -> None:
        message = refusal(assign_groups, NAMES, pattern)
        for part in ["`groups`", *parts]:
            assert part in message


def labelled(names: list[str]) -> tuple[list[str], np.ndarray]:
    """The names, and a label for each class folder."""
    return names, np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]


def days(form: str) -> list[str]:
    parts = product("ab", ("2013", "2014"), ("0304", "1231"), range(5))
    return [f"{c}/" + form.format(y=year, m=day[:2], d=day[2:], i=i, c=c) for c, year, day, i in parts]


FAMILIES = {
    "days and seconds": (days("{y}{m}{d}_07113{i}_27699.jpg"), r"^\d{8}", 4),
    "days and seconds in one number": (days("{y}{m}{d}07113{i}.jpg"), r"^\d{8}", 4),
    "a camera, days and seconds": (days("IMG_{y}{m}{d}_07113{i}.jpg"), r"\d{8}", 4),
    "days in parts": (days("{y}-{m}-{d} 07.11.3{i}.png"), r"\d{4}[-_.]\d\d[-_.]\d\d", 4),
    "a word and days in parts": (days("Screenshot {y}-{m}-{d} {i}.png"), r"\d{4}[-_.]\d\d[-_.]\d\d", 4),
    "hours of one day": (
        [f"{c}/20130412_{hour:02}{i:02}34.jpg" for c in "ab" for hour in (7, 8, 9) for i in range(5)],
        r"^\d{8}.\d\d",
        3,
    ),
    "frames of numbered videos": (
        [f"{c}/video{v:02}_frame{i:04}.jpg" for c in "ab" for v in range(4) for i in range(9)],
        r"^(.*?)\d+\.\w+$",
        4,
    ),
    "frames of named videos": (
        [f"{c}/{v}_frame_{i}.jpg" for c in "ab" for v in ("bridge", "harbour") for i in range(9)],
        r"^(.*?)\d+\.\w+$",
        2,
    ),
    "slices of patients": (
        [f"{c}/patient{p:03}-slice{i}.png" for c in "ab" for p in range(5) for i in range(6)],
        r"^(.*?)\d+\.\w+$",
        5,
    ),
    "numbers of sequences": (
        [f"{c}/MVI_{v}__img{i:05}.jpg" for c in "ab" for v in (20011, 20012, 39031) for i in range(1, 9)],
        r"^(.*?)\d+\.\w+$",
        3,
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pattern_is_suggested_for_names_of_moments_and_frames(family: str) -> None:
    names, pattern, groups = FAMILIES[family]
    assert suggest_groups(*labelled(names)) == (pattern, groups)


def hashes(digits: int, suffix: str = "") -> list[str]:
    found = (hashlib.sha256(str(i).encode()).hexdigest()[:digits] for i in range(400))
    return [f"{'ab'[i % 2]}/{name}{suffix}.jpg" for i, name in enumerate(found)]


NO_FAMILIES = {
    "none": [],
    "hashes": hashes(32),
    "short hashes": hashes(8),
    "hashes and a number": hashes(12, "_0"),
    "numbers": [f"{c}/{i:06}.jpg" for c in "ab" for i in range(50)],
    "numbers like days": [f"{c}/{20130100 + i}.jpg" for c in "ab" for i in range(99)],
    "classes and numbers": [f"{c}/{c}_{i:03}.jpg" for c in ("gondola", "topa") for i in range(50)],
    "classes with digits and numbers": [
        f"{c}/{c}_{i}.JPEG" for c in ("n01440764", "n01443537", "n01484850") for i in range(26, 10026, 100)
    ],
    "numbers of a camera": [f"{c}/IMG_{i:04}.jpg" for c in "ab" for i in range(50)],
    "numbers of two cameras": [
        f"{c}/{camera}_{i:04}.jpg" for c in "ab" for camera in ("IMG", "DSC") for i in range(50)
    ],
    "numbers of a year": [f"{c}/COCO_train2014_{i * 97:012}.jpg" for c in "ab" for i in range(50)],
    "a name of its own and a number": [f"{c}/bird{i}_1.jpg" for c in "ab" for i in range(50)],
    "a day of each class": [
        f"{c}/2013040{day}_{i:06}.jpg" for c, day in (("a", 1), ("b", 2)) for i in range(50)
    ],
    "one day": [f"{c}/20130401_07{i:02}00.jpg" for c in "ab" for i in range(50)],
    "days of which one is nearly all": [
        f"{c}/201304{day:02}_000{i:03}.jpg" for c in "ab" for day, n in ((1, 90), (2, 10)) for i in range(n)
    ],
    "a day of each image": [
        f"{c}/2013{month:02}{day:02}_071134.jpg" for c in "ab" for month in (1, 2, 3) for day in range(1, 29)
    ][::2],
    "days and a file without": [*days("{y}{m}{d}_07113{i}.jpg"), "a/extra.jpg"],
}


@pytest.mark.parametrize("family", NO_FAMILIES)
def test_nothing_is_suggested_for_other_names(family: str) -> None:
    assert suggest_groups(*labelled(NO_FAMILIES[family])) is None


def test_the_photographs_of_boats_are_grouped_by_day(boats: Path) -> None:
    paths = sorted(boats.glob("*/*/*.jpg"))
    labels_N = np.unique([path.parent.name for path in paths], return_inverse=True)[1]
    assert suggest_groups([str(path) for path in paths], labels_N) == (r"^\d{8}", 6)
