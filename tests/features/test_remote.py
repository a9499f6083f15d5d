"""Image sets and the store behind URLs, from end to end: as those of this machine, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.containers import labelled, write_arrow, write_shards, write_tar
from tests.object_store import Bucket, failing_server, web_server
from tests.refusals import refusal
from tests.samples import MakeImages
from transfer.cli import main
from transfer.config import RunConfig
from transfer.data import listing
from transfer.engines.eager import Eager
from transfer.features import extract, image_sets
from transfer.features.extract import Features
from transfer.features.given import read_given
from transfer.features.plan import plan_extraction
from transfer.features.reading import read_alone
from transfer.system.progress import silent
from transfer.system.remote import RemotePath, path_of
from transfer.system.timer import Stopwatch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("slim_resnets", "timed_once")]


@pytest.fixture
def photos(tmp_path: Path, make_images: MakeImages) -> Path:
    """Images in splits and classes, and files that are none, with awkward names."""
    root = make_images(tmp_path / "photos", classes=2)
    for split in ("train", "valid", "test"):
        (root / split / "class1").rename(root / split / "é b#%20?")
    (root / "train" / "class0" / "no suffix").write_bytes((root / "train" / "class0" / "0.jpg").read_bytes())
    (root / "train" / "class0" / "notes.txt").write_text("text")
    (root / "train" / "class0" / ".hidden").write_text("text")
    (root / "train" / ".git" / "x").mkdir(parents=True)
    (root / "train" / ".git" / "x" / "y.jpg").write_text("text")
    return root


def config(data: str | Path, store: str | Path, **settings: Any) -> RunConfig:
    given = {
        "backbone": "resnet18",
        "weights": "random",
        "device": "cpu",
        "engine": "eager",
        "precision": "fp32",
    }
    return RunConfig(data=str(data), store=store, **{**given, **settings})  # type: ignore[arg-type]


def features(one: RunConfig) -> Features:
    found = image_sets.find_images(one, Stopwatch(), silent)
    return extract.extract(plan_extraction(one), found, Stopwatch(), silent)


def assert_equal(one: Features, other: Features) -> None:
    for split, part in one.splits.items():
        np.testing.assert_array_equal(part.x_ND, other.splits[split].x_ND)
        np.testing.assert_array_equal(part.y_N, other.splits[split].y_N)
    first, second = one.extraction.images, other.extraction.images
    np.testing.assert_array_equal(first.ids_N32, second.ids_N32)
    assert list(first.samples.names) == list(second.samples.names)
    assert one.extraction.classes == other.extraction.classes
    assert one.extraction.table.key == other.extraction.table.key


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many objects were read whole, and how many images went through a network."""
    found = {"read": 0, "forward": 0}
    read, submit = RemotePath.read, Eager.submit

    def counted_read(path: RemotePath, *limits: Any) -> bytes:
        found["read"] += not limits and path.suffix == ".jpg"
        return read(path, *limits)

    def counted_submit(self: Eager, x_NHW3: np.ndarray) -> Any:
        found["forward"] += len(x_NHW3)
        return submit(self, x_NHW3)

    monkeypatch.setattr(RemotePath, "read", counted_read)
    monkeypatch.setattr(Eager, "submit", counted_submit)
    return found


def test_a_listing_is_that_of_the_same_folder(bucket: Bucket, photos: Path) -> None:
    for name in ("loose.jpg", "z/a/b/c/deep.jpg", "z/a/x.txt", "z.jpg", "z-1/y.jpg", "Thumbs.db"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(b"x")
    here, there = (listing.list_files(path) for path in (photos, path_of(bucket.put_folder(photos, "a b"))))
    assert list(there.folders) == [name for name in here.folders if here.folders[name].runs]
    for one, other in [(here, there), *((here.folders[name], there.folders[name]) for name in here.folders)]:
        for own in ("images", "not_images", "ignored"):
            assert list(getattr(one.all, own)) == list(getattr(other.all, own))
            assert list(getattr(one.own, own)) == list(getattr(other.own, own))


def test_features_of_a_folder_and_the_store_behind_a_url(
    bucket: Bucket, photos: Path, tmp_path: Path, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store = bucket.put_folder(photos, "a b/photos"), f"{bucket.url}/store"
    first = features(config(url, store))
    assert_equal(first, features(config(photos, tmp_path / "store")))
    assert first.extraction.computed == 32
    for machine in ("user-cache", "other"):  # the second knows no files, and has no copy of the store
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
        counts.update(read=0, forward=0)
        again = features(config(url, store))
        assert_equal(again, first)
        assert counts == {"read": 0 if machine == "user-cache" else 32, "forward": 0}
    counts.update(read=0, forward=0)
    bucket.put({"a b/photos/test/class0/new.jpg": (photos / "test/class0/0.jpg").read_bytes()})
    bucket.put({"a b/photos/test/class0/1.jpg": (photos / "test/class0/2.jpg").read_bytes()})
    assert features(config(url, store)).extraction.reused == 34
    assert counts == {"read": 2, "forward": 0}


def labels_csv(root: Path) -> str:
    rows = labelled(root)
    text = "file,label,split\n" + "".join(
        f'"./{row["file"]}",{row["label"]},{row["split"]}\n' for row in rows
    )
    (root / "labels.csv").write_text(text)
    return "labels.csv"


def names_parquet(root: Path) -> str:
    rows = labelled(root)
    columns = {name: [row[name] for row in rows] for name in ("file", "label", "split")}
    return write_arrow(root / "names.parquet", columns, rows=5).name


def images_parquet(root: Path) -> str:
    rows = labelled(root)
    images = [{"bytes": row["bytes"], "path": row["file"]} for row in rows]
    columns = {
        "image": images,
        "label": [row["label"] for row in rows],
        "split": [row["split"] for row in rows],
    }
    return write_arrow(root / "images.parquet", columns, rows=5).name


def images_arrow(root: Path) -> str:
    return write_arrow(
        root / "stream.arrow",
        {
            "image": [{"bytes": row["bytes"], "path": row["file"]} for row in labelled(root)],
            "label": [row["label"] for row in labelled(root)],
        },
    ).name


def one_tar(root: Path) -> str:
    members: dict[str, bytes] = {}
    for i, row in enumerate(labelled(root)):
        members |= {f"{i:04}.jpg": row["bytes"], f"{i:04}.cls": row["label"].encode()}
    return write_tar(root / "all.tar", members).name


def tars(root: Path) -> str:
    return write_shards(root / "shards", labelled(root)).name


@pytest.mark.parametrize(
    "make",
    [labels_csv, names_parquet, images_parquet, images_arrow, one_tar, tars],
    ids=lambda make: make.__name__,
)
def test_tables_and_containers_are_those_of_this_machine(
    bucket: Bucket, photos: Path, tmp_path: Path, make: Callable[[Path], str]
) -> None:
    name = make(photos)
    url = bucket.put_folder(photos, "set")
    here, there = (
        read_alone(image_sets.find_images(one, Stopwatch(), silent), one, silent)
        for one in (config(photos / name, tmp_path / "a"), config(f"{url}/{name}", tmp_path / "b"))
    )
    assert len(there.indexed) == 32
    np.testing.assert_array_equal(here.indexed.ids_N32, there.indexed.ids_N32)
    assert list(here.indexed.samples.names) == list(there.indexed.samples.names)
    np.testing.assert_array_equal(here.indexed.label_N, there.indexed.label_N)
    np.testing.assert_array_equal(here.indexed.split_N, there.indexed.split_N)
    assert there.indexed[3].data() == here.indexed[3].data()
    assert str(there.indexed[3].path).startswith(url)


@pytest.mark.parametrize("make", [images_parquet, images_arrow, one_tar], ids=lambda make: make.__name__)
def test_one_file_by_http(photos: Path, tmp_path: Path, make: Callable[[Path], str]) -> None:
    name = make(photos)
    with web_server(photos) as url:
        one = config(f"{url}/{name}?token=secret", tmp_path / "store")
        found = image_sets.find_images(one, Stopwatch(), silent)
        read = read_alone(found, one, silent)
    assert len(read.indexed) == 32
    assert found.name == name
    assert "secret" not in f"{found.root} {read.indexed[0].path}"


def test_features_of_the_users_own(bucket: Bucket, tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32), np.arange(40) % 2
    np.savez(tmp_path / "own.npz", x=x, y=y)
    bucket.put({"own.npz": (tmp_path / "own.npz").read_bytes()})
    here, there = (
        read_given(RunConfig(data=data, store=tmp_path / "store"))
        for data in (str(tmp_path / "own.npz"), f"{bucket.url}/own.npz")
    )
    np.testing.assert_array_equal(here[1], there[1])
    assert here[2].sha256 == there[2].sha256


def test_a_run_is_that_of_the_same_folder_and_shows_no_secrets(
    bucket: Bucket, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = images_parquet(photos)
    words = ["--backbone", "resnet18", "--weights", "random", "--engine", "eager", "--precision", "fp32"]
    words += ["--methods", "ncm,knn", "--seed", "3", "--verbose"]
    with web_server(photos) as web:
        web = web.replace("http://", "http://someone:secret@")
        for out, data, store in (
            ("here", str(photos / name), str(tmp_path / "store")),
            ("there", f"{bucket.put_folder(photos, 'set')}/{name}", f"{bucket.url}/store"),
            ("web", f"{web}/{name}?token=secret", str(tmp_path / "store")),
        ):
            assert main(["run", data, "--store", store, "--out", str(tmp_path / out), *words]) == 0
    texts = {
        out: [
            (tmp_path / out / file).read_text()
            for file in ("predictions.csv", "result.json", "report.html", "models/model.json")
        ]
        for out in ("here", "there", "web")
    }
    assert texts["there"][0] == texts["here"][0]
    results = [json.loads(texts[out][1]) for out in texts]
    for result in results[1:]:
        assert result["data"] == results[0]["data"]
        for one, other in zip(result["methods"], results[0]["methods"], strict=True):
            assert all(one[name] == other[name] for name in ("best_params", "valid", "test"))
    shown = capsys.readouterr()
    assert "secret" not in str(texts) + shown.out + shown.err
    assert main(["predict", str(tmp_path / "there"), f"{bucket.url}/set/test/class0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["images"] if isinstance(found, dict) else found) == 4


def test_images_that_are_gone_or_damaged_are_bad_images(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    url = bucket.put_folder(photos, "set")
    bucket.put({"set/train/class0/1.jpg": b"text"})
    one = config(url, tmp_path / "store", on_bad_image="skip")
    found = image_sets.find_images(one, Stopwatch(), silent)
    bucket.delete("set/train/class0/2.jpg")
    read = read_alone(found, one, silent)
    assert sorted(read.skipped) == ["train/class0/1.jpg", "train/class0/2.jpg"]
    assert read.skipped["train/class0/2.jpg"] == "No such file or directory"


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_fails_is_no_bad_image(
    bucket: Bucket, photos: Path, tmp_path: Path, at_endpoint: Callable[[str], None], status: int
) -> None:
    one = config(bucket.put_folder(photos, "set"), tmp_path / "store", on_bad_image="skip")
    found = image_sets.find_images(one, Stopwatch(), silent)
    with failing_server(status) as url:
        at_endpoint(url)
        message = refusal(read_alone, found, one, silent)
    assert message.startswith(f"can't reach {bucket.url}/set/")


@pytest.mark.parametrize("below", ["", "/none"])
def test_an_empty_bucket_has_no_images(bucket: Bucket, tmp_path: Path, below: str) -> None:
    one = config(bucket.url + below, tmp_path / "store")
    message = refusal(image_sets.find_images, one, Stopwatch(), silent)
    assert message.startswith(
        f"no such folder: {bucket.url}{below}" if below else f"no images in {bucket.url}"
    )


def test_many_small_objects(bucket: Bucket, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for i in range(1001):  # S3 lists a thousand at a time
        path = root / f"class{i % 2}" / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i % 256).save(path)
    ones = [config(data, tmp_path / "store") for data in (root, bucket.put_folder(root, "many"))]
    here, there = (read_alone(image_sets.find_images(one, Stopwatch(), silent), one, silent) for one in ones)
    assert len(there.indexed) == 1001
    np.testing.assert_array_equal(here.indexed.ids_N32, there.indexed.ids_N32)
