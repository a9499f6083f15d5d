"""What a worker returns of a mistake of the user's, and what it raises so that another worker tries."""

from __future__ import annotations

from typing import Any

import pytest

from transfer.features.ray_worker import Worker
from transfer.system.errors import ServerError, UserError


class Failing(Worker):
    """A worker whose only work fails."""

    def __init__(self) -> None:
        pass

    def fail(self, error: UserError, cause: Exception | None) -> Any:
        raise error from cause


def test_a_mistake_is_returned() -> None:
    error = UserError("mend it")
    assert Failing().call("fail", error, ValueError()) == (None, error)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (UserError("disk"), OSError()),
        (ServerError("server"), ValueError()),
        (UserError("image"), ServerError("server")),
    ],
)
def test_what_disks_and_servers_do_is_raised(error: UserError, cause: Exception) -> None:
    with pytest.raises(RuntimeError, match=str(error)):
        Failing().call("fail", error, cause)
