from __future__ import annotations

import pytest

from tests.refusals import refusal
from transfer.system.errors import ServerError
from transfer.system.file_systems import server_errors


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:1/bucket?list-type=2&token=secret", "http://127.0.0.1:1/bucket"),
        ("https://someone:secret@host/x@2.jpg#secret", "https://host/x@2.jpg"),
        ("https://someone:se?cr@et@host/x?a=secret", "https://host/x"),
        ("https://host/x", "https://host/x"),
    ],
)
def test_a_message_names_the_server_and_no_secrets(url: str, shown: str) -> None:
    def fail() -> None:
        with server_errors("s3://bucket", hide=False):
            raise OSError(f'Could not connect to "{url}"')

    message = refusal(fail)
    assert message.startswith(f'can\'t reach s3://bucket: Could not connect to "{shown}" (OSError)')


def test_errors_of_libraries_are_errors_of_the_server() -> None:
    """Those of botocore are no `OSError`."""
    with pytest.raises(ServerError, match="slow down"), server_errors("s3://bucket", hide=True):
        raise LookupError("slow down")
