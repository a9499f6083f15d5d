from __future__ import annotations

import pytest

from transfer.cli.messages import name_options


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`batch_size` is 0", "--batch-size is 0"),
        ("`data` is empty", "DATA is empty"),
        ("use a smaller `size`, or `device='cpu'`", "use a smaller --size, or --device cpu"),
        ("try `engine='eager', precision='fp32'`", "try --engine eager --precision fp32"),
        ("give `weights=FILE` or random", "give --weights FILE or random"),
        ("another `models`, or `force=True`", "another --out, or --force"),
        ("`unfreeze=['layer4'], adapt=['lora:8', 'bitfit']`", "--unfreeze layer4 --adapt lora:8,bitfit"),
        ("`gamma` is 'x'", "`gamma` is 'x'"),
        ("can't read a`b`.jpg", "can't read a`b`.jpg"),
    ],
)
def test_arguments_are_shown_as_options(message: str, shown: str) -> None:
    assert name_options(message) == shown
