"""What a user reads where input is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from transfer.system.errors import UserError


def refusal(call: Callable[..., object], *given: Any, **named: Any) -> str:
    """Return the text of the `UserError` that a call raises: one line."""
    with pytest.raises(UserError) as caught:
        call(*given, **named)
    message = str(caught.value)
    assert "\n" not in message
    return message
