from __future__ import annotations

import pytest

from tests.refusals import refusal
from transfer.heads.registry import check_methods


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unfreeze:layer3", "which `unfreeze=['layer3']` adds; leave it out of `methods`"),
        ("unfreeze", "which `unfreeze=['layer4']` adds; leave it out of `methods`"),
        ("lora:layer4", "which `unfreeze=['layer4'], adapt=['lora:8']` adds; leave it out of `methods`"),
        ("bitfit:layer4", "which `unfreeze=['layer4'], adapt=['bitfit']` adds; leave it out of `methods`"),
        ("fc-lab-uncached", "which `bn='train'` adds; leave it out of `methods`"),
    ],
)
def test_methods_that_other_settings_add_are_not_named(name: str, message: str) -> None:
    assert refusal(check_methods, ["fc", name]) == f"`methods` is {name!r}, {message}"


def test_a_name_of_no_method_is_refused_with_the_others() -> None:
    check_methods(["fc", "svm"])
    assert refusal(check_methods, ["fc", "svn"]).startswith("`methods` is 'svn'; choose one of fc-lab, fc, ")
