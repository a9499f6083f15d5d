"""Object stores for tests: an S3-compatible server on this machine, and servers that fail."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Bucket:
    """A bucket of its own on a server."""

    def __init__(self, endpoint: str) -> None:
        import s3fs

        self.files = s3fs.S3FileSystem(
            key="someone", secret="secret", endpoint_url=endpoint, use_listings_cache=False
        )
        self.name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.url = f"s3://{self.name}"
        self.files.mkdir(self.name)

    def put(self, contents: dict[str, bytes]) -> None:
        """Put objects by their keys."""
        from moto.s3.models import (
            s3_backends,
        )  # the server runs in this process: a request takes milliseconds

        for key, data in contents.items():
            s3_backends["123456789012"]["aws"].put_object(self.name, key, data)

    def put_folder(self, folder: Path, prefix: str) -> str:
        """Put all files below a folder; return the URL of the prefix."""
        self.put(
            {
                f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
        )
        return f"{self.url}/{prefix}"

    def list_keys(self) -> list[str]:
        return [key.removeprefix(f"{self.name}/") for key in self.files.find(self.name)]

    def get(self, key: str) -> bytes:
        """Return an object."""
        return bytes(self.files.cat_file(f"{self.name}/{key}"))

    def delete(self, key: str) -> None:
        """Delete an object."""
        self.files.rm_file(f"{self.name}/{key}")


@contextmanager
def s3_server() -> Iterator[str]:
    """Start an S3-compatible server; yield its URL."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@contextmanager
def failing_server(status: int) -> Iterator[str]:
    """Start a server that answers everything with one status; yield its URL."""

    class Failing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with _served(Failing) as url:
        yield url


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve the files of a folder by HTTP; yield the URL of the server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with _served(partial(Quiet, directory=str(folder))) as url:  # type: ignore[arg-type]
        yield url


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
