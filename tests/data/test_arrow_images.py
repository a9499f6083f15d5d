from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.containers import pictures, write_arrow
from transfer.data import arrow_images, label_tables
from transfer.data.arrow_images import ImageTable
from transfer.data.feature_files import holds_features
from transfer.data.image_tables import list_images, open_images
from transfer.data.members import read
from transfer.system.errors import UserError

pa = pytest.importorskip("pyarrow")

NAMES = ("x.parquet", "stream.arrow", "file.arrow")


def rows_of(path: Path, *columns: str, **given: str) -> list[list[Any]]:
    table = arrow_images.open_arrow(path, given)
    assert isinstance(table, ImageTable)
    return [list(values) for _, values in table.rows(columns)]


@pytest.mark.parametrize("name", NAMES)
def test_images_are_read_by_column_and_row(tmp_path: Path, name: str) -> None:
    path = write_arrow(tmp_path / name, {"image": pictures(11), "label": ["a"] * 11})
    named = [f"image/{i:02}/{i}.jpg" for i in range(11)]
    assert rows_of(path, "image", "label") == [[name, "a"] for name in named]
    assert [read(path / one, 99) for one in named] == [b"image %d" % i for i in range(11)]
    assert list_images(path, {}) == [path / one for one in named]
    for member in ("image/11/11.jpg", "image/-1", "image/x", "image", "other/0"):
        with pytest.raises(OSError, match=f"not in {name}"):
            read(path / member, 99)
    with pytest.raises(OSError, match="larger than 3 bytes"):
        read(path / "image/00", 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_images_may_be_bytes_alone(tmp_path: Path, name: str, kind: Any) -> None:
    path = write_arrow(tmp_path / name, {"jpg": pa.array([b"one", None], kind), "n": [1, 2]})
    assert rows_of(path, "jpg") == [["jpg/0"], ["jpg/1"]]
    assert read(path / "jpg/0", 9) == b"one"
    with pytest.raises(OSError, match="no bytes in its row"):
        read(path / "jpg/1", 9)


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_an_image_have_no_bytes(tmp_path: Path, name: str) -> None:
    path = write_arrow(
        tmp_path / name, {"image": [{"bytes": None, "path": "1.jpg"}, {"bytes": b"2", "path": None}, None]}
    )
    assert rows_of(path, "image") == [["image/0/1.jpg"], ["image/1"], ["image/2"]]
    assert read(path / "image/1", 9) == b"2"
    for row in (0, 2):
        with pytest.raises(OSError, match="no bytes in its row"):
            read(path / f"image/{row}", 9)


def test_paths_of_images_lead_nowhere(tmp_path: Path) -> None:
    paths = ["/a//b.jpg", "../b.jpg", ".", ""]
    path = write_arrow(tmp_path / "x.parquet", {"image": [{"bytes": b"x", "path": one} for one in paths]})
    assert rows_of(path, "image") == [["image/0/a/b.jpg"], ["image/1"], ["image/2"], ["image/3"]]


@pytest.mark.parametrize("name", NAMES)
def test_indices_of_classes_are_their_names(tmp_path: Path, name: str) -> None:
    columns = {"image": pictures(4), "kind": [1, 0, -1, None]}
    path = write_arrow(tmp_path / name, columns, {"kind": ["cat", "dog"]})
    table = open_images(path, {})
    assert table.defaults == {"file": "image", "label": "kind"}
    assert [values[0] for _, values in table.rows(["kind"])] == ["dog", "cat", None, None]
    with pytest.raises(UserError, match="row 2: the label is empty"):
        label_tables.find(path)
    write_arrow(tmp_path / "other.parquet", {"image": pictures(1), "kind": [2]}, {"kind": ["cat", "dog"]})
    with pytest.raises(UserError, match="row 0: the kind is 2, and there are 2 classes"):
        label_tables.find(tmp_path / "other.parquet")


def test_classes_are_declared_beside_the_file(tmp_path: Path) -> None:
    path = write_arrow(tmp_path / "x.arrow", {"image": pictures(2), "label": [1, 0]})
    assert rows_of(path, "label") == [[1], [0]]
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"features": features}))
    assert rows_of(path, "label") == [["dog"], ["cat"]]
    for text in (
        "{",
        "[1]",
        '{"features": {"label": 1}}',
        '{"features": {"label": {"_type": "ClassLabel"}}}',
    ):
        (tmp_path / "dataset_info.json").write_text(text)
        assert rows_of(path, "label") == [[1], [0]]


def test_one_of_two_columns_of_images_is_chosen(tmp_path: Path) -> None:
    path = write_arrow(
        tmp_path / "x.parquet", {"left": pictures(2), "right": pictures(2), "file": ["a.jpg", "b.jpg"]}
    )
    assert arrow_images.open_arrow(path, {}) is None  # a table of files
    assert rows_of(path, "right", file="right")[0] == ["right/0/0.jpg"]
    path = write_arrow(tmp_path / "y.parquet", {"left": pictures(2), "right": pictures(2)})
    with pytest.raises(
        UserError, match="images in 'left' and in 'right'; choose one by `columns='file=left'`"
    ):
        arrow_images.open_arrow(path, {})


def test_parquet_holds_features_images_or_names_of_files(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "images": {"image": pictures(1), "label": [1]},
        "files": {"file": ["a.jpg"], "label": [1]},
        "features": {"features": [[1.0]], "label": [1]},
        "numbers": {"x": [1.0], "label": [1]},
    }
    found = [
        holds_features(write_arrow(tmp_path / f"{name}.parquet", own), {}) for name, own in kinds.items()
    ]
    assert found == [False, False, True, True]
    assert not holds_features(tmp_path / "images.parquet", {"file": "image"})


def test_row_groups_of_limited_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_images, "MAX_GROUP_BYTES", 10)
    path = write_arrow(tmp_path / "x.parquet", {"image": pictures(9)})
    with pytest.raises(UserError, match="of images in a row group, and 10 bytes are read at most"):
        read(path / "image/0", 99)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = write_arrow(tmp_path / name, {"image": pictures(11), "label": ["a"] * 11})
    data = path.read_bytes()
    for damaged in (b"", b"PAR1", data[: len(data) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=f"can't read {path}") as caught:
            open_images(path, {})
        assert "\n" not in str(caught.value)


def test_offsets_that_lead_out_of_an_arrow_file_are_refused(tmp_path: Path) -> None:
    path = write_arrow(tmp_path / "x.arrow", {"image": pa.array([b"a" * 77, b"b"])})
    data = path.read_bytes()
    offsets = b"".join(end.to_bytes(4, "little") for end in (0, 77, 78))
    assert data.count(offsets) == 1
    path.write_bytes(data.replace(offsets, offsets[:8] + (2**30).to_bytes(4, "little")))
    with pytest.raises(UserError, match=f"can't read {path}"):
        read(path / "image/1", 99)


def test_files_of_other_columns_are_refused(tmp_path: Path) -> None:
    write_arrow(tmp_path / "train-0.parquet", {"image": pictures(2), "kind": ["a", "b"]})
    write_arrow(tmp_path / "test-0.parquet", {"image": pictures(2), "label": ["a", "b"]})
    with pytest.raises(UserError, match="has no column 'label', unlike others beside it"):
        label_tables.find(tmp_path)
    write_arrow(tmp_path / "test-0.parquet", {"label": ["a", "b"]})
    with pytest.raises(UserError, match="has no column of images"):
        label_tables.find(tmp_path)
    write_arrow(tmp_path / "x.arrow", {"n": [1]})
    with pytest.raises(UserError, match="x.arrow has no column of images"):
        label_tables.find(tmp_path / "x.arrow")


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_are_no_utf_8_are_refused(tmp_path: Path, name: str) -> None:
    label = pa.array([b"\xff"]).view(pa.utf8())
    path = write_arrow(tmp_path / name, {"image": pictures(1), "label": label})
    with pytest.raises(UserError, match=f"can't read {path}"):
        label_tables.find(path)


@pytest.mark.slow
def test_files_that_datasets_writes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    columns = {"image": pictures(4), "label": [1, 0, 1, 0]}
    found = datasets.Dataset.from_dict(columns, features=features)
    found.to_parquet(str(tmp_path / "x.parquet"))
    found.select([3, 1]).save_to_disk(str(tmp_path / "saved"))
    named = [f"image/{i}/{i}.jpg" for i in range(4)]
    assert rows_of(tmp_path / "x.parquet", "image", "label") == [
        [name, label] for name, label in zip(named, ["dog", "cat"] * 2, strict=True)
    ]
    assert read(tmp_path / "x.parquet" / named[3], 9) == b"image 3"
    images = list_images(tmp_path / "saved", {})
    assert [path.name for path in images] == ["3.jpg", "1.jpg"]
    assert [read(path, 9) for path in images] == [b"image 3", b"image 1"]
