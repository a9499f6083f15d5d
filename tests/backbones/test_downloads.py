from __future__ import annotations

import contextlib
import gc
import hashlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import models

from tests.refusals import refusal
from transfer.backbones import downloads, torchvision_files
from transfer.system import files


class Server:
    """Files over HTTP on this machine, and the paths that were asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                data = owner.files.get(self.path)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def raw_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes | None], str]]:
    """A function that starts a server which answers anything with the same bytes, or never; it gives the URL."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def answer(data: bytes | None) -> None:
        connection, _ = listener.accept()
        held.append(connection)
        connection.recv(65536)
        if data is not None:
            connection.sendall(data)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def start(data: bytes | None) -> str:
        threads.append(threading.Thread(target=answer, args=(data,)))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for thread in threads:
        thread.join(10)
    for connection in held:
        connection.close()
    listener.close()


def hashed_name(data: bytes, stem: str = "net") -> str:
    return f"{stem}-{hashlib.sha256(data).hexdigest()[:8]}.pth"


def test_a_file_is_fetched_once_and_kept(tmp_path: Path, server: Server) -> None:
    data = bytes(range(256)) * 500
    name = hashed_name(data)
    server.files[f"/models/{name}"] = data
    folder = tmp_path / "hub/checkpoints"
    for _ in range(2):
        path = downloads.fetch(f"{server.url}/models/{name}", folder).path
        assert path == folder / name
        assert path.read_bytes() == data
    assert server.asked == [f"/models/{name}"]
    assert list(folder.iterdir()) == [path]


def test_a_name_with_more_hyphens_is_checked_by_its_last_part(tmp_path: Path, server: Server) -> None:
    name = hashed_name(b"data", stem="net-of-1.5")
    server.files[f"/{name}"] = b"data"
    assert downloads.fetch(f"{server.url}/{name}", tmp_path).path.read_bytes() == b"data"


def test_a_file_whose_name_tells_no_hash_is_fetched_too(tmp_path: Path, server: Server) -> None:
    server.files["/net.pth"] = b"data"
    assert downloads.fetch(f"{server.url}/net.pth", tmp_path).path.read_bytes() == b"data"


def test_a_file_with_another_hash_is_refused_and_not_kept(tmp_path: Path, server: Server) -> None:
    name = hashed_name(b"the real data")
    server.files[f"/{name}"] = b"something else"
    message = refusal(downloads.fetch, f"{server.url}/{name}", tmp_path)
    assert "hash" in message
    assert str(tmp_path / name) in message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_server_lacks_can_be_put_in_place(tmp_path: Path, server: Server) -> None:
    name = hashed_name(b"data")
    message = refusal(downloads.fetch, f"{server.url}/{name}", tmp_path)
    assert "Not Found" in message
    assert f"put it at {tmp_path / name}" in message
    assert "`weights=FILE`" in message
    (tmp_path / name).write_bytes(b"data")
    assert downloads.fetch(f"{server.url}/{name}", tmp_path).path == tmp_path / name
    assert len(server.asked) == 1


@pytest.mark.slow
def test_no_connection_is_left_open_after_an_error(tmp_path: Path, server: Server) -> None:
    refusal(downloads.fetch, f"{server.url}/net-01234567.pth", tmp_path)
    gc.collect()  # an open socket warns when it is collected, and warnings are errors here


def test_a_server_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    message = refusal(downloads.fetch, f"http://127.0.0.1:{port}/net-01234567.pth", tmp_path)
    assert "refused" in message
    assert str(tmp_path / "net-01234567.pth") in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ntoo little",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\ntoo little",
    ],
    ids=["nothing", "no HTTP", "half a file", "half a chunk"],
)
def test_a_broken_answer_is_reported_and_nothing_kept(
    tmp_path: Path, raw_server: Callable[[bytes | None], str], answer: bytes
) -> None:
    url = raw_server(answer)
    message = refusal(downloads.fetch, f"{url}/net-01234567.pth", tmp_path)
    assert str(tmp_path / "net-01234567.pth") in message
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, raw_server: Callable[[bytes | None], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "DOWNLOAD_TIMEOUT_S", 0.1)
    before = socket.getdefaulttimeout()
    url = raw_server(None)
    message = refusal(downloads.fetch, f"{url}/net-01234567.pth", tmp_path)
    assert "timed out" in message
    assert socket.getdefaulttimeout() == before
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").touch()
    name = hashed_name(b"data")
    server.files[f"/{name}"] = b"data"
    refusal(downloads.fetch, f"{server.url}/{name}", tmp_path / "file/checkpoints")


@pytest.mark.parametrize(
    ("name", "file"),
    [("resnet50", "resnet50-0676ba61.pth"), ("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth")],
)
def test_imagenet_weights_in_torchs_cache_need_no_network(
    hub: Path, name: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hub / file).write_bytes(b"weights")
    digits = Path(file).stem.rsplit("-")[-1]
    monkeypatch.setattr(files, "file_sha256", lambda path: digits + "0" * 56)
    assert downloads.imagenet_file(name).path == hub / file


def test_a_file_in_torchs_cache_that_is_not_what_its_name_says_is_refused(hub: Path) -> None:
    (hub / "resnet50-0676ba61.pth").write_bytes(b"weights")
    assert "delete it or replace it" in refusal(downloads.imagenet_file, "resnet50")


def test_a_network_without_first_imagenet_weights_is_refused(hub: Path) -> None:
    message = refusal(downloads.imagenet_file, "vit_h_14")
    assert "vit_h_14" in message
    assert "`weights=FILE`" in message


@pytest.mark.parametrize(
    "name", [n for n in torchvision_files.names() if n not in ("vit_h_14", "regnet_y_128gf")]
)
def test_the_hash_of_every_imagenet_file_is_in_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def note(url: str, path: str, hash_prefix: str | None, progress: bool) -> None:
        asked.append((url, hash_prefix))
        Path(path).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", note)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    downloads.imagenet_file(name)
    [(url, prefix)] = asked
    assert url == models.get_model_weights(name)["IMAGENET1K_V1"].url
    assert prefix is not None
    assert len(prefix) >= 8
    assert set(prefix) <= set("0123456789abcdef")
