from __future__ import annotations

import contextlib
import gc
import hashlib
import http.server
import os
import pickle
import re
import socket
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from safetensors.torch import load_file, save_file
from torchvision import models

from transfer.backbones import downloads, networks, weights
from transfer.backbones.choice import choose_weights
from transfer.cache.store import Store
from transfer.config import RunConfig
from transfer.data.dataset import ImageSet, Samples
from transfer.data.loader import BadImages, IndexedImages, read
from transfer.data.names import Names
from transfer.features.extract import extract
from transfer.features.plan import plan_extraction
from transfer.system import files
from transfer.system.errors import UserError
from transfer.system.files import stamp
from transfer.system.timer import Stopwatch

State = dict[str, torch.Tensor]
SIZE = (64, 64)


def small_state() -> State:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv.bias": torch.randn(4, generator=generator),
        "bn.num_batches_tracked": torch.tensor(7),
    }


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w"])
def test_tensors_are_loaded_from_torchs_files(tmp_path: Path, name: str) -> None:
    torch.save(small_state(), tmp_path / name)
    assert_same(weights.load(tmp_path / name), small_state())


def test_tensors_are_loaded_from_torchs_older_files(tmp_path: Path) -> None:
    torch.save(OrderedDict(small_state()), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert_same(weights.load(tmp_path / "w.pth"), small_state())


def test_tensors_are_loaded_from_safetensors(tmp_path: Path) -> None:
    save_file(small_state(), tmp_path / "w.safetensors")
    assert_same(weights.load(tmp_path / "w.safetensors"), small_state())


def test_parameters_are_loaded_too(tmp_path: Path) -> None:
    parameters = {key: torch.nn.Parameter(v, v.is_floating_point()) for key, v in small_state().items()}
    torch.save(parameters, tmp_path / "w.pth")
    assert_same(weights.load(tmp_path / "w.pth"), small_state())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"model": state, "epoch": 3, "args": {"lr": 0.1}},
        lambda state: {"state_dict": state, "optimizer": {"param_groups": [{"lr": 0.1}]}},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"state_dict": {"model": state}},
        lambda state: OrderedDict(state),
    ],
    ids=["state_dict", "model", "with optimizer", "module.", "both", "nested twice", "ordered"],
)
def test_training_checkpoints_are_unwrapped(tmp_path: Path, wrap: Callable[[State], Any]) -> None:
    torch.save(wrap(small_state()), tmp_path / "w.pth")
    found = weights.load(tmp_path / "w.pth")
    names = {re.sub(r"^(state_dict\.|model\.|module\.)+", "", name): name for name in found}
    assert_same({ours: found[name] for ours, name in names.items()}, small_state())


def test_a_network_called_module_keeps_its_name(tmp_path: Path) -> None:
    save_file({"modules.weight": torch.ones(2), "a.module.weight": torch.ones(3)}, tmp_path / "w.safetensors")
    assert weights.load(tmp_path / "w.safetensors").keys() == {"modules.weight", "a.module.weight"}


class Code:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "nested"])
def test_code_in_a_file_is_refused_and_never_run(tmp_path: Path, form: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "w.pth"
    held: Any = {**small_state(), "code": Code(trace)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(Code(trace), protocol=2))
    elif form == "nested":
        torch.save({"state_dict": small_state(), "extra": [held]}, path)
    else:
        torch.save(held, path, _use_new_zipfile_serialization=form == "zip")
    assert str(path) in refusal(lambda: weights.load(path))
    assert not trace.exists()
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trace.exists(), "the file would not have run its code anyway"


def test_code_under_the_name_of_safetensors_is_refused_and_never_run(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "w.safetensors"
    torch.save({"code": Code(trace)}, path)
    assert str(path) in refusal(lambda: weights.load(path))
    assert not trace.exists()


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"fc.weight": torch.zeros(1000, 1000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    assert packed.stat().st_size < plain.stat().st_size / 100
    with pytest.raises(UserError, match="unpacks to more than it is"):
        weights.load(packed)
    assert weights.load(plain).keys() == {"fc.weight"}


def test_a_file_that_would_keep_its_reader_busy_is_refused(tmp_path: Path) -> None:
    busy: Any = ()
    for _ in range(60):
        busy = (busy, busy)
    torch.save({"a": busy}, tmp_path / "w.pth")
    message = refusal(lambda: weights.load(tmp_path / "w.pth"))
    assert "can't be read as weights: its tuples hold each other too many times" in message


@pytest.mark.parametrize("length", [2**40, 2**63, 100_000_001])
def test_a_header_of_absurd_length_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" * 100)
    with pytest.raises(UserError, match="can't be read as weights"):
        weights.load(path)


def test_a_tensor_larger_than_what_it_is_made_of_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = models.resnet18().state_dict()
    state["conv1.weight"] = torch.zeros(1).expand(2**20, 2**20)  # 4 terabytes, in 4 bytes
    torch.save(state, path)
    with pytest.raises(UserError):
        networks.build("resnet18", weights.load(path))


def test_a_file_that_changes_while_it_is_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(small_state(), path)
    before = stamp(path)
    assert_same(weights.load(path, before), small_state())
    torch.save({**small_state(), "conv.bias": torch.zeros(4)}, path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))  # clocks of file systems may be coarse
    with pytest.raises(UserError, match="changed while it was being used"):
        weights.load(path, before)


def test_a_whole_pickled_network_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    message = refusal(lambda: weights.load(tmp_path / "w.pth"))
    assert "state_dict()" in message


GARBAGE = {
    "empty": b"",
    "text": b"hello, these are no weights\n",
    "words": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102530333\n",
    "markup": b"<!DOCTYPE html><html><body>404</body></html>",
    "JSON": b'{"weights": [1, 2, 3]}',
    "dot": b".",
    "zeros": bytes(64),
    "empty pickle": b"\x80\x02.",
    "zip's first bytes": b"PK\x03\x04" + bytes(30),
    "accents": "è una prova".encode("latin-1"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(data)
    assert str(path) in refusal(lambda: weights.load(path))


def test_bytes_of_no_kind_are_said_to_be_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert "is not a file of PyTorch or safetensors" in refusal(lambda: weights.load(path))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(small_state(), path)
    else:
        save_file(small_state(), path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert str(path) in refusal(lambda: weights.load(path))


@pytest.mark.parametrize(
    "held",
    [
        torch.ones(3),
        [torch.ones(3)],
        {"weight": "heavy"},
        {"state_dict": [1, 2]},
        {0: torch.ones(3)},
        {"model": {1: torch.ones(3)}},
        3,
        None,
    ],
    ids=["tensor", "list", "text", "wrapped list", "numbered", "wrapped numbered", "number", "nothing"],
)
def test_anything_but_a_state_dict_is_refused(tmp_path: Path, held: Any) -> None:
    path = tmp_path / "w.pth"
    torch.save(held, path)
    message = refusal(lambda: weights.load(path))
    assert str(path) in message
    assert "state_dict()" in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_what_is_no_file_is_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"w{suffix}"
    if kind == "folder":
        path.mkdir()
    assert str(path) in refusal(lambda: weights.load(path))


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
    message = refusal(lambda: downloads.fetch(f"{server.url}/{name}", tmp_path))
    assert "hash" in message
    assert str(tmp_path / name) in message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_server_lacks_can_be_put_in_place(tmp_path: Path, server: Server) -> None:
    name = hashed_name(b"data")
    message = refusal(lambda: downloads.fetch(f"{server.url}/{name}", tmp_path))
    assert "Not Found" in message
    assert f"put it at {tmp_path / name}" in message
    assert "`weights=FILE`" in message
    (tmp_path / name).write_bytes(b"data")
    assert downloads.fetch(f"{server.url}/{name}", tmp_path).path == tmp_path / name
    assert len(server.asked) == 1


def test_no_connection_is_left_open_after_an_error(tmp_path: Path, server: Server) -> None:
    refusal(lambda: downloads.fetch(f"{server.url}/net-01234567.pth", tmp_path))
    gc.collect()  # an open socket warns when it is collected, and warnings are errors here


def test_a_server_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    message = refusal(lambda: downloads.fetch(f"http://127.0.0.1:{port}/net-01234567.pth", tmp_path))
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
def test_a_broken_answer_is_told_and_nothing_kept(
    tmp_path: Path, raw_server: Callable[[bytes | None], str], answer: bytes
) -> None:
    url = raw_server(answer)
    message = refusal(lambda: downloads.fetch(f"{url}/net-01234567.pth", tmp_path))
    assert str(tmp_path / "net-01234567.pth") in message
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, raw_server: Callable[[bytes | None], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "DOWNLOAD_TIMEOUT_S", 0.1)
    before = socket.getdefaulttimeout()
    url = raw_server(None)
    message = refusal(lambda: downloads.fetch(f"{url}/net-01234567.pth", tmp_path))
    assert "timed out" in message
    assert socket.getdefaulttimeout() == before
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").touch()
    name = hashed_name(b"data")
    server.files[f"/{name}"] = b"data"
    refusal(lambda: downloads.fetch(f"{server.url}/{name}", tmp_path / "file/checkpoints"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder of checkpoints, empty, on a machine without a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "home/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


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
    assert "delete it or replace it" in refusal(lambda: downloads.imagenet_file("resnet50"))


def test_a_network_without_first_imagenet_weights_is_refused(hub: Path) -> None:
    message = refusal(lambda: downloads.imagenet_file("vit_h_14"))
    assert "vit_h_14" in message
    assert "`weights=FILE`" in message


@pytest.mark.parametrize("name", [n for n in networks.names() if n not in ("vit_h_14", "regnet_y_128gf")])
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


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def image_set(root: Path, *, train: int, size: tuple[int, int] = SIZE) -> ImageSet:
    """`train` images to train on and four others; all different."""
    rng = np.random.default_rng(0)
    splits: dict[str, Samples] = {}
    for split, count in (("train", train), ("valid", 2), ("test", 2)):
        (root / split).mkdir(parents=True)
        names = Names.of(f"{split}/{i:03}.png" for i in range(count))
        splits[split] = Samples(root, names, np.arange(count, dtype=np.int32) % 2)
        for sample in splits[split]:
            PillowImage.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(sample.path)
    return ImageSet(name="noise", root=root, classes=("a", "b"), splits=splits)


def images_in(root: Path, pool: ThreadPoolExecutor, *, train: int = 6) -> IndexedImages:
    return read(image_set(root, train=train), pool, BadImages(root, "error"), lambda *_: None)


class Finder:
    """`weights.find` with a store and images of its own."""

    def __init__(self, root: Path, pool: ThreadPoolExecutor, *, train: int = 6) -> None:
        self.root = root
        self.pool = pool
        self.images = images_in(root / "images", pool, train=train)

    def __call__(
        self, size: tuple[int, int] = SIZE, images: IndexedImages | None = None, **values: Any
    ) -> weights.Weights:
        config = RunConfig(**{"backbone": "shufflenet_v2_x0_5", "weights": "random", **values})
        images = self.images if images is None else images
        bad = BadImages(self.root / "images", config.on_bad_image)
        return weights.find(choose_weights(config), images, size, Store(self.root / "store"), self.pool, bad)


@pytest.fixture
def finder(tmp_path: Path, pool: ThreadPoolExecutor) -> Finder:
    return Finder(tmp_path, pool)


def test_random_weights_are_made_once(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = finder()
    assert first.source == "random"
    assert first.path.is_relative_to(finder.root / "store")
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(networks, "random_state", refuse)
    assert finder() == first


def test_random_weights_fit_their_network(finder: Finder) -> None:
    network = networks.build("shufflenet_v2_x0_5", weights.load(finder().path))
    with torch.inference_mode():
        features = network(torch.randn(2, 3, *SIZE))
    assert features.shape == (2, 1024)
    assert features.isfinite().all()


@pytest.mark.parametrize(
    "values",
    [{"seed": 1}, {"size": (64, 96)}, {"backbone": "squeezenet1_1"}, {"channel_order": "bgr"}],
    ids=str,
)
def test_other_random_weights_are_another_file(finder: Finder, values: dict[str, Any]) -> None:
    first, other = finder(), finder(**values)
    assert other.path != first.path
    assert other.sha256 != first.sha256
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()


def test_other_training_images_bring_other_random_weights(finder: Finder) -> None:
    assert finder().sha256 != finder(images=finder.images[1:]).sha256


def test_images_of_the_other_splits_do_not_matter(finder: Finder) -> None:
    assert finder(images=finder.images.in_split("train")) == finder()


@pytest.mark.parametrize("train", [3, 40, 70])
def test_statistics_are_estimated_on_some_training_images_each_once(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, train: int
) -> None:
    finder = Finder(tmp_path, pool, train=train)
    given: list[torch.Tensor] = []

    def note(name: str, *, seed: int, batches: Iterable[torch.Tensor], **_: Any) -> State:
        given.extend(batches)
        return {"weight": torch.zeros(1)}

    monkeypatch.setattr(networks, "random_state", note)
    finder(images=finder.images.select(np.append(np.arange(len(finder.images)), [0, 1])))
    chosen = sorted(finder.images.in_split("train"), key=lambda image: image.id)[:64]
    expected = np.stack([np.asarray(PillowImage.open(image.path)) for image in chosen])
    found = torch.cat(given)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), expected)
    assert all(len(batch) <= 16 for batch in given)


def test_random_weights_are_there_whole_or_not_at_all(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(networks, "random_state", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finder()
    assert not [path for path in (finder.root / "store").rglob("*") if path.is_file()]
    assert load_file(finder().path)


@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
def test_a_file_of_the_user_is_taken_as_it_is(finder: Finder, name: str) -> None:
    path = finder.root / name
    state = models.shufflenet_v2_x0_5().state_dict()
    torch.save(state, path) if name.endswith(".pth") else save_file(state, path)
    found = finder(weights=str(path))
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == weights.Weights(
        backbone="shufflenet_v2_x0_5", source=name, path=path, sha256=expected, of_user=True
    )


def test_a_file_of_another_network_is_told_before_an_engine_is_made(finder: Finder) -> None:
    path = finder.root / "mine.pth"
    torch.save({"model": models.shufflenet_v2_x1_0().state_dict()}, path)
    message = refusal(lambda: finder(weights=str(path)))
    assert message.startswith(f"{path}: these weights do not fit shufflenet_v2_x0_5")
    assert message.endswith("give `backbone='shufflenet_v2_x1_0'`")


@pytest.mark.parametrize("given", [{}, {"mean": (0.5, 0.5, 0.5)}], ids=str)
def test_what_a_file_does_not_tell_is_said(
    finder: Finder, caplog: pytest.LogCaptureFixture, given: dict[str, Any]
) -> None:
    path = finder.root / "mine.pth"
    state = models.shufflenet_v2_x0_5().state_dict()
    changed = {key: value + 1 for key, value in state.items()}
    torch.save({"model": state, "ema": changed}, path)
    with caplog.at_level("INFO", "transfer"):
        found = finder(weights=str(path), **given)
    assert len(found.remarks) == 1
    assert f"mine.pth: {found.remarks[0]}" in caplog.messages
    assert ("pixels are scaled by ImageNet's mean" in caplog.text) == (not given)


def test_imagenets_statistics_follow_the_order_of_channels() -> None:
    rgb, bgr = (choose_weights(RunConfig(channel_order=order)).normalisation for order in ("rgb", "bgr"))
    assert rgb == networks.IMAGENET
    assert (bgr.mean, bgr.std) == (rgb.mean[::-1], rgb.std[::-1])
    given = RunConfig(mean=(0.1, 0.2, 0.3), channel_order="bgr")
    assert choose_weights(given).normalisation.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_weights_file_that_is_none_is_told(finder: Finder, kind: str) -> None:
    path = finder.root / "mine.pth"
    if kind == "folder":
        path.mkdir()
    message = refusal(lambda: finder(weights=str(path)))
    for part in (str(path), "imagenet", "embedded", "random", ".safetensors", ".pth"):
        assert part in message


def test_imagenet_weights_are_found_in_torchs_cache(
    hub: Path, finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hub / "squeezenet1_1-b8a52dc0.pth"
    path.write_bytes(b"weights")
    expected = "b8a52dc0" + "0" * 56
    monkeypatch.setattr(files, "file_sha256", lambda path: expected)
    found = finder(weights="imagenet", backbone="squeezenet1_1")
    assert found == weights.Weights(backbone="squeezenet1_1", source="imagenet", path=path, sha256=expected)


def test_a_size_that_the_network_cannot_take_is_told_before_random_weights_are_made(tmp_path: Path) -> None:
    images = image_set(tmp_path / "images", train=4, size=(32, 32))
    config = RunConfig(
        backbone="inception_v3", weights="random", device="cpu", precision="fp32", store=tmp_path / "store"
    )
    message = refusal(lambda: extract(plan_extraction(config), images, Stopwatch("cpu"), lambda *_: None))
    assert "inception_v3" in message
    assert "64x64" in message  # to which small images are scaled
    assert "224x224" in message
