"""Commands on the same images in files that hold them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_data_files import run_json, without_seconds
from tests.data.containers import labelled, write_arrow, write_shards, write_tar
from tests.samples import MakeImages
from transfer import cli
from transfer.data.random_splits import SPLITS

pytestmark = [pytest.mark.usefixtures("slim_resnets", "timed_once"), pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(make_images: MakeImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("data") / "images", train=6, valid=2, test=2)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return labelled(folder)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    store = tmp_path_factory.mktemp("store")
    return ["--backbone=resnet18", "--weights=random", f"--store={store}", "--device=cpu"]


def images_of(rows: Sequence[dict[str, Any]], split: str, classes: list[str]) -> dict[str, Any]:
    """The columns of a split in the format of `datasets`: structures of bytes and path, and indices of classes."""
    own = [row for row in rows if row["split"] == split]
    return {
        "image": [{"bytes": row["bytes"], "path": row["file"].rsplit("/", 1)[1]} for row in own],
        "label": [classes.index(row["label"]) for row in own],
    }


def write_parquet(root: Path, rows: list[dict[str, Any]]) -> Path:
    """As `datasets` publishes them: `data/train-00000-of-00002.parquet`."""
    (root / "data").mkdir(parents=True)
    classes = sorted({row["label"] for row in rows})
    for split in SPLITS:
        columns = images_of(rows, split, classes)
        half = len(columns["label"]) // 2
        for i, part in enumerate((slice(half), slice(half, None))):
            path = root / "data" / f"{split}-{i:05}-of-00002.parquet"
            own = {name: values[part] for name, values in columns.items()}
            write_arrow(path, own, {"label": classes}, rows=4)
    return root


def write_saved(root: Path, rows: list[dict[str, Any]]) -> Path:
    """As `DatasetDict.save_to_disk` does."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    classes = sorted({row["label"] for row in rows})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)})
    splits = {
        split: datasets.Dataset.from_dict(images_of(rows, split, classes), features=features)
        for split in SPLITS
    }
    datasets.DatasetDict(splits).save_to_disk(str(root))
    return root


def write_one_parquet(root: Path, rows: list[dict[str, Any]]) -> Path:
    """One file of images with a column of splits."""
    root.mkdir()
    columns = {key: [row[key] for row in rows] for key in ("label", "split", "bytes")}
    return write_arrow(root / "set.parquet", columns, rows=7)


def write_one_tar(root: Path, rows: list[dict[str, Any]]) -> Path:
    """A tar with classes and splits in JSON."""
    members: dict[str, bytes] = {}
    for row in rows:
        key = row["file"].removesuffix(".jpg")
        record = {"label": row["label"], "split": row["split"]}
        members |= {f"{key}.jpg": row["bytes"], f"{key}.json": json.dumps(record).encode()}
    return write_tar(root / "set.tar", members)


def write_table(root: Path, rows: list[dict[str, Any]]) -> Path:
    """A table of files."""
    for row in rows:
        (root / row["file"]).parent.mkdir(parents=True, exist_ok=True)
        (root / row["file"]).write_bytes(row["bytes"])
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["file", "label", "split"], *([r["file"], r["label"], r["split"]] for r in rows)])
    return root / "labels.csv"


WRITERS = [write_table, write_parquet, write_one_parquet, write_saved, write_shards, write_one_tar]


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_images_have_the_same_ids_splits_and_scores_wherever_they_lie(
    write: Callable[[Path, list[dict[str, Any]]], Path],
    folder: Path,
    rows: list[dict[str, Any]],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*words, "--methods=fc,svm,knn", "--epochs=3"]
    first = run_json(capsys, "run", str(folder), *words)
    path = write(tmp_path / "set", rows)
    second = run_json(capsys, "run", str(path), *words)
    assert second["features"]["computed"] == 0
    assert second["features"]["key"] == first["features"]["key"]
    assert without_seconds(second["methods"]) == without_seconds(first["methods"])
    for one in (first, second):  # the names are others
        del one["data"]["fingerprint"]
        for suspect in one["comparison"]["suspects"]["first"]:
            del suspect["file"]
    assert without_seconds(second["comparison"]) == without_seconds(first["comparison"])
    assert second["data"].pop("name") == path.name
    assert second["data"].pop("others")["count"] == 0
    assert second["data"] == {key: first["data"][key] for key in second["data"]}


@pytest.mark.parametrize("write", [write_one_parquet, write_shards])
def test_predictions_and_pictures_of_images_in_containers(
    write: Callable[[Path, list[dict[str, Any]]], Path],
    rows: list[dict[str, Any]],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out, page = write(tmp_path / "set", rows), tmp_path / "out", tmp_path / "page.html"
    columns = ["--columns=file=bytes"] if path.is_file() else []
    assert cli.main(["run", str(path), *words, *columns, "--methods=knn", f"--out={out}"]) == 0
    assert cli.main(["report", str(out), "--html", str(page), "--images", str(path)]) == 0
    assert page.read_text() == (out / "report.html").read_text()
    assert "data:image/jpeg;base64," in page.read_text()
    capsys.readouterr()
    assert cli.main(["predict", str(out), str(path), *columns, "--json"]) == 0
    found = {one["path"]: one["label"] for one in json.loads(capsys.readouterr().out)}
    with (out / "predictions.csv").open() as file:
        answers = {row["file"]: row["knn"] for row in csv.DictReader(file)}
    base = path.parent if path.is_file() else path
    assert answers == {name: found[str(base / name)] for name in answers}
    assert len(found) == len(rows)
    one = next(iter(found))
    assert cli.main(["predict", str(out), one]) == 0
    assert capsys.readouterr().out.startswith(f"{one}\t{found[one]}\t")


def test_images_that_can_t_be_read_are_named_or_skipped(
    rows: list[dict[str, Any]], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "bytes": b"no image"} if i == 3 else row for i, row in enumerate(rows)]
    path = write_one_parquet(tmp_path / "set", rows)
    name = "set.parquet/bytes/03"
    assert cli.main(["extract", str(path), *words, "--quiet"]) == 2
    err = capsys.readouterr().err
    assert f"{name}: not a JPEG" in err
    assert err.count("\n") == 1
    found = run_json(capsys, "run", str(path), *words, "--on-bad-image=skip", "--methods=knn", status=3)
    assert [one["name"] for one in found["data"]["skipped"]] == [name]
