from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.files import touch
from tests.refusals import refusal
from transfer.data.user_paths import STANDARD_INPUT, check_output, check_store, find_named
from transfer.system.remote import path_of

URLS = ["https://host/get.jpg?id=1", "https://host/get.jpg?id=2"]


@pytest.mark.parametrize("from_input", [False, True])
def test_urls_that_differ_in_their_queries_alone_are_not_taken_for_one(from_input: bool) -> None:
    given = [STANDARD_INPUT] if from_input else list(map(path_of, URLS))
    text = "\n".join(URLS).encode()
    message = refusal(lambda: list(find_named(given, lambda: text, must_exist=False)))
    assert message == "https://host/get.jpg is named twice, maybe with two queries; name it once in a command"


def test_other_urls_may_be_named_twice() -> None:
    given = [path_of(url) for url in ("s3://bucket/1.jpg", "s3://bucket/1.jpg", "https://host/1.jpg")]
    assert list(find_named(given, bytes, must_exist=False)) == given


def test_results_of_a_table_are_not_put_among_its_images(tmp_path: Path) -> None:
    touch(tmp_path, "set/labels.csv", "set/a/1.jpg", "set/out/result.json", "set/out/plot.png", "else/1.jpg")
    table = tmp_path / "set/labels.csv"
    assert "a holds images; give an `out` beside them" in refusal(
        check_output, str(table), tmp_path / "set/a"
    )
    for name in ("set", "set/out", "set/new", "else"):
        check_output(str(table), tmp_path / name)


@pytest.mark.parametrize(
    ("store", "place"),
    [
        ("set", "set"),
        ("set/a/cache", "set/a"),
        ("split/train/cache", "split/train"),
        ("set/cache", None),
        ("set/.cache", None),
        ("cache", None),
        ("split/cache", None),
    ],
)
def test_a_store_is_not_put_among_images(tmp_path: Path, store: str, place: str | None) -> None:
    touch(tmp_path, "set/a/1.jpg", "set/b/1.jpg", "split/train/a/1.jpg", "split/test/a/1.jpg")
    data = tmp_path / store.partition("/")[0]
    if place is None:
        check_store(str(data), tmp_path / store)
        return
    message = refusal(check_store, str(data), tmp_path / store)
    assert message.startswith(
        f"the store {tmp_path / store} lies in {tmp_path / place}, which holds images; "
    )
    assert message.endswith(f"give a `store` beside {data}")


def test_a_store_is_looked_for_in_folders_of_this_machine_alone(tmp_path: Path) -> None:
    touch(tmp_path, "x.csv")
    for data, store in (
        ("lagoon", "lagoon"),
        (str(tmp_path / "x.csv"), str(tmp_path)),
        ("s3://b/x", "s3://b/x/y"),
    ):
        check_store(data, path_of(store))
