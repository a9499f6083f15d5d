from __future__ import annotations

import pytest

from tests.refusals import refusal
from transfer.data.user_paths import STANDARD_INPUT, find_named
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
