from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from tests.samples import EXAMPLE
from transfer import report
from transfer.evaluation import results
from transfer.evaluation.results import Result

OVERLAP = {"first": "train", "second": "test", "groups": 2, "images": 7}


@pytest.fixture
def example() -> Result:
    return copy.deepcopy(results.load(EXAMPLE))


def notes(example: Result, *, data: dict[str, Any] | None = None, **parts: Any) -> str:
    return "\n".join(
        report.notes(dataclasses.replace(example, data={**example.data, **(data or {})}, **parts))
    )


def test_copies_are_named_by_their_splits(example: Result) -> None:
    text = notes(example, data={"copies": {"train-valid": 3, "train-test": 0, "valid-test": 2}})
    assert "3 validation images are training images too: what is chosen on them is chosen by memory" in text
    assert "2 test images are validation images too: the choice has seen them" in text
    assert "flatter every method" not in text
    copies = {"train-valid": 0, "train-test": 1, "valid-test": 0}
    assert "1 test image is a training image too: the scores flatter every method" in notes(
        example, data={"copies": copies}
    )


def test_copies_under_other_labels_are_not_said_to_flatter(example: Result) -> None:
    copies = {"train-valid": 5, "train-test": 4, "valid-test": 0}
    wrong = {"train-valid": 2, "train-test": 4, "valid-test": 0}
    text = notes(example, data={"copies": copies, "copies_of_another_class": wrong})
    assert "3 validation images are training images too: what" in text
    assert "2 validation images are training images of another class: " in text
    assert "4 test images are training images of another class: one of the two labels is wrong" in text
    assert "flatter" not in text


def test_copies_within_a_split_and_in_two_classes_are_named(example: Result) -> None:
    mixed = {"images": 6, "classes": ["a", "b"]}
    within = {"train": 7, "valid": 0, "test": 1}
    text = notes(example, data={"in_two_classes": mixed, "copies_within": within, "contradictions": 12})
    assert "6 images lie in two classes: a, b" in text
    assert "12" not in text.split("6 images lie in two classes")[1].splitlines()[0]
    assert "7 training images are copies of another one of their class" in text
    assert "1 test image is a copy of another one of its class: in the score" in text


def test_what_was_taken_from_a_file_of_weights_is_noted(example: Result) -> None:
    given = {**example.backbone, "weights": "w.pth", "weights_remarks": ["3 tensors are left out: a, b, c"]}
    text = notes(example, backbone={**given, "mean": [0.485, 0.456, 0.406]})
    assert "w.pth: 3 tensors are left out" in text
    assert "pixels were scaled by ImageNet's mean" in text
    assert "ImageNet's mean" not in notes(example, backbone={**given, "mean": [0.5, 0.5, 0.5]})
    assert "ImageNet's mean" not in notes(example)


def test_a_size_that_the_bounds_changed_is_named(example: Result) -> None:
    backbone = {**example.backbone, "input_size": [480, 640]}
    data = {"image_size": [3000, 4000]}
    config = {**example.config, "size": None}
    text = notes(example, data=data, backbone=backbone, config=config)
    assert "the images are 3000x4000 and were scaled to 480x640" in text
    assert "scaled to" not in notes(
        example, data=data, backbone=backbone, config={**config, "size": [480, 640]}
    )
    assert "scaled to" not in notes(
        example, data={"image_size": [480, 640]}, backbone=backbone, config=config
    )
    assert "scaled to" not in notes(example, data={"image_size": None}, backbone=backbone, config=config)


def test_what_the_pixels_are_is_reported_where_it_is_unusual(example: Result) -> None:
    text = notes(example, features={**example.features, "shift": 4, "alike": [0, 3]})
    assert "images of 16 bits use 12 of them" in text
    assert "nearly the same (pixels are 0 to 3 of 255)" in text
    text = notes(example, features={**example.features, "shift": 8, "alike": None})
    assert "16 bits" not in text
    assert "nearly the same" not in text


def test_names_like_moments_lead_to_the_command_to_type(example: Result) -> None:
    groups = {"count": 0, "across_splits": [], "suggestion": {"pattern": r"^\d{8}", "count": 6}}
    text = notes(example, data={"groups": groups})
    assert r"--groups '^\d{8}' --repeats groups" in text
    assert "6 groups" in text


def test_near_duplicates_are_shown_with_a_pair_and_the_command(example: Result) -> None:
    near = [
        {"first": "train", "second": "test", "compared": 40, "found": 4, "pairs": [["a.jpg", "b.jpg"]]},
        {"first": "train", "second": "valid", "compared": 20, "found": 0, "pairs": []},
    ]
    text = notes(example, data={"near_duplicates": near})
    assert "4 of 40 test images have a near-duplicate among the train images" in text
    assert "nearest: a.jpg and b.jpg" in text
    assert "`--groups REGEX --repeats groups` keeps such images together" in text
    assert "of 20 valid" not in text
    drawn = notes(example, data={"near_duplicates": near, "drawn": ["test"]})
    assert "`--groups REGEX` keeps" in drawn  # where the splits are the data's own it would move no image
    rows = notes(example, data={"near_duplicates": near}, features={**example.features, "given": "f.npz"})
    assert "groups of rows (an array, or a column that `--groups` names) keep such images" in rows
    example.methods[0]["test"]["independent"] = {"unit": "group", "count": 4}
    groups = {"count": 5, "suggestion": None}
    for across, keep in (([], "wider groups keep"), ([OVERLAP], "`--repeats groups` keeps")):
        data = {"near_duplicates": near, "groups": {**groups, "across_splits": across}}
        assert f"scores may flatter; {keep} such images together" in notes(example, data=data)


def test_groups_on_both_sides_of_a_given_split_are_named(example: Result) -> None:
    methods = example.methods
    for method in methods:
        method["test"]["independent"] = {"unit": "group", "count": 4}
    data = {"groups": {"count": 5, "across_splits": [OVERLAP], "suggestion": None}}
    text = notes(example, data=data, methods=methods)
    assert "2 groups lie in both train and test (7 test images)" in text
    assert "all test images are of one group" not in text
    for method in methods:
        method["test"]["independent"] = {"unit": "image", "count": 40}
    assert "all test images are of one group" in notes(example, data=data, methods=methods)


def test_small_splits_and_classes_are_called_so(example: Result) -> None:
    splits = copy.deepcopy(example.data["splits"])
    splits["test"]["per_class"] = [4, 40, *[50] * (len(example.data["classes"]) - 2)]
    text = notes(example, data={"splits": splits})
    assert f"(under 5): {example.data['classes'][0]} 4" in text
    assert "only large differences" not in text
    splits["test"]["per_class"] = [4, *[5] * (len(example.data["classes"]) - 1)]
    assert "test images are few: only large differences between methods can show" in notes(
        example, data={"splits": splits}
    )


def test_methods_that_find_no_image_of_a_class_are_named(example: Result) -> None:
    for method in example.methods:
        for row in method["test"]["per_class"]:
            row["recall"] = 0.5
    assert "finds no image" not in notes(example)
    example.methods[0]["test"]["per_class"][0]["recall"] = 0.0
    assert f"finds no image: {example.methods[0]['name']} 1" in notes(example)


def test_repeats_that_failed_say_why(example: Result) -> None:
    assert "nothing is repeated" not in notes(example)
    comparison = {**example.comparison, "repeats": None, "not_repeated": "ridge: all images of one class"}
    config = {**example.config, "repeats": None}
    text = notes(example, comparison=comparison, data={"drawn": ["test"]}, config=config)
    assert "nothing is repeated on other splits: ridge: all images of" in text
    assert "on one split alone" not in text


def test_groups_with_all_images_of_a_class_are_named(example: Result) -> None:
    repeats = {"n": 2, "methods": [], "names": ["a", "b"], "untrained": [0, 20]}
    text = notes(example, comparison={**example.comparison, "repeats": repeats})
    assert "while the group is left out: b (20 images); " in text


def test_extended_grids_and_edges_are_named(example: Result) -> None:
    example.methods[0] |= {"extended": {"lr": [0.1], "C": []}, "at_edge": ["lr"]}
    text = notes(example)
    name = example.methods[0]["name"]
    assert f"{name}: the best lr was at an edge of its grid; tried beyond it too: 0.1" in text
    assert f"{name}: the best lr is at an end of its grid" in text


def test_settings_that_were_dropped_on_the_way_are_counted(example: Result) -> None:
    assert "dropped on the way" not in notes(example)
    row = example.methods[0]["sweep"][0]
    example.methods[0]["sweep"] = [row | {"params": {"lr": 0.1, "steps": n}} for n in (500, 125, 250)]
    assert f"{example.methods[0]['name']}: 2 of 3 settings were dropped on the way" in notes(example)


def test_empty_classes_and_contradictions_are_named(example: Result) -> None:
    text = notes(example, data={"empty_classes": ["a", "b", "c", "d"], "contradictions": 2})
    assert "class folders without an image are no classes here: a, b, c and 1 more" in text
    assert "2 training images lie in the folders of two classes" in text


def test_features_taken_from_the_cache_are_said_to_be(example: Result) -> None:
    engine = {**example.engine, "trials": [], "reason": "the cache holds its features"}
    assert f"{engine['name']} {engine['precision']}: the cache holds its features" in notes(
        example, engine=engine
    )


def test_one_split_alone_is_noted_where_nobody_chose_it(example: Result) -> None:
    one_split = {**example.comparison, "repeats": None}
    drawn = {"drawn": ["valid", "test"]}
    unasked = {**example.config, "repeats": None}
    assert "`--repeats 10` shows" in notes(example, data=drawn, comparison=one_split, config=unasked)
    asked = {**example.config, "repeats": 0}
    assert "--repeats 10" not in notes(example, data=drawn, comparison=one_split, config=asked)
    assert "--repeats 10" not in notes(example, comparison=one_split, config=unasked)


def test_methods_that_are_not_repeated_unasked_are_named(example: Result) -> None:
    first, *others = [one["name"] for one in example.methods]
    repeated = {"n": 10, "scheme": "stratified", "methods": [{"name": name} for name in others]}
    parts = {"comparison": {**example.comparison, "repeats": repeated}}
    text = notes(example, config={**example.config, "repeats": None}, **parts)
    assert f"{first}: compared on this split alone; `--repeats 10` trains on other splits too" in text
    assert "on this split alone" not in notes(example, config={**example.config, "repeats": 10}, **parts)
