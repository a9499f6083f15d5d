from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import jsonschema_rs
import pytest

from tests.cli.words import run_json, words_for
from tests.samples import MakeImages
from transfer import cli
from transfer.system import schemas

pytestmark = pytest.mark.usefixtures("slim_resnets", "timed_once")
ENGINE = ("--engine=eager", "--precision=fp32", "--methods=knn")


def words(root: Path, *more: str) -> list[str]:
    """Words that run two networks on the images in a folder; later options win."""
    return [*words_for(root), *ENGINE, "--backbone=resnet18,resnet34", *more]


@pytest.fixture(scope="module")
def compared(slim_resnets: None, make_images: MakeImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of images, and what a run of two networks at two sizes wrote."""
    root = tmp_path_factory.mktemp("compared")
    make_images(root / "images", train=12)
    given = words(root, "--size=32x32,48x64", "--quiet", f"--out={root / 'out'}")
    assert cli.main(["run", *given]) == 0
    return root


@pytest.fixture
def out(compared: Path, tmp_path: Path) -> Path:
    """A copy of what that run wrote."""
    return Path(shutil.copytree(compared / "out", tmp_path / "out"))


@pytest.fixture
def cold(tmp_path: Path, make_images: MakeImages) -> Path:
    """A small folder of images, and no store yet."""
    make_images(tmp_path / "images", train=2, valid=1, test=1)
    return tmp_path


@pytest.mark.slow
def test_each_has_a_folder_of_its_own_and_all_have_a_page(compared: Path) -> None:
    out = compared / "out"
    record = schemas.load(out / "frontier.json", "frontier")
    names = ["resnet18-32x32", "resnet18-48x64", "resnet34-32x32", "resnet34-48x64"]
    assert [one["name"] for one in record["candidates"]] == names
    assert {one["name"] for one in record["points"]} == set(names)
    for name in names:
        assert {path.name for path in (out / name).iterdir()} == {
            "models",
            "predictions.csv",
            "report.html",
            "report.md",
            "result.json",
        }
        assert name in (out / "report.html").read_text()


@pytest.mark.slow
def test_report_shows_the_folder_the_folders_in_it_and_all_that_a_shell_names(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    every = sorted(map(str, out.iterdir()))
    folders = [path for path in every if Path(path).is_dir()]
    earlier = out / "earlier"  # which the comparison does not name
    shutil.copytree(folders[0], earlier)
    frontier = str(out / "frontier.json")
    for given in (
        [str(out)],
        folders,
        every,
        [*every, str(earlier)],
        [frontier, str(out)],
        [frontier, *folders],
    ):
        assert cli.main(["report", *given]) == 0
        shown.append(capsys.readouterr())
    assert len({one.out for one in shown}) == 1
    assert [str(earlier) in one.err for one in shown] == [False] * 3 + [True] + [False] * 2
    assert cli.main(["report", frontier, str(out / "none")]) == 2
    assert cli.main(["report", f"{folders[0]}/frontier.json"]) == 2
    assert cli.main(["report", str(out / "report.html")]) == 2
    assert "Score against time" in shown[0].out
    page = out.parent / "page.html"
    assert cli.main(["report", str(out), "--html", str(page)]) == 0
    assert page.read_text() == (out / "report.html").read_text()


@pytest.mark.slow
def test_predict_takes_a_folder_of_one(out: Path, compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = compared / "images/test/class0/0.jpg"
    assert cli.main(["predict", str(out / "resnet18-32x32"), str(image), "--quiet"]) == 0
    assert "class" in capsys.readouterr().out


@pytest.mark.slow
def test_json_is_the_record(compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run_json(capsys, "run", *words(compared), f"--out={tmp_path / 'out'}")
    jsonschema_rs.validate(schemas.load_schema("frontier"), record)
    assert record == json.loads((tmp_path / "out/frontier.json").read_text())
    assert [one["name"] for one in record["candidates"]] == ["resnet18", "resnet34"]


@pytest.mark.slow
def test_images_that_are_skipped_are_named_once(cold: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cold / "images/train/class0/bad.jpg").write_text("no image")
    given = words(cold, "--size=32x32", "--quiet", "--on-bad-image=skip", f"--out={cold / 'images/out'}")
    assert cli.main(["run", *given]) == 3
    assert capsys.readouterr().err.count("transfer: skipped 'train/class0/bad.jpg': ") == 1
    # What was written beside the images is no folder of images.
    assert cli.main(["run", *given]) == 3
    assert "out" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_fails_says_where_the_results_are(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with Path("/dev/full").open("w", buffering=1) as full, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", full)
        assert cli.main(["run", *words(compared, "--size=32x32", "--quiet"), f"--out={out}"]) == 2
        patch.undo()
        with contextlib.suppress(OSError):
            full.close()  # what it could not write is flushed again
    assert f"can't write to standard output (No space left on device); the result is in {out}" in (
        capsys.readouterr().err
    )
    assert (out / "report.html").is_file()


@pytest.mark.slow
def test_a_time_budget_is_said_and_recorded(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(compared, "--size=32x32,48x64", "--time-budget=1h", f"--out={tmp_path / 'out'}")
    assert cli.main(["run", *given]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Round 1, 1/8 of the training and validation images (9), macro F1 of ridge on validation:" in text
    assert "were used of the time budget of 3600 s" in text
    record = schemas.load(tmp_path / "out/frontier.json", "frontier")
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {one["name"] for one in record["candidates"] if one["state"] == "compared"}
    assert len(folders) == 2
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert "dropped: " in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_the_others_are_kept_where_one_fails(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "resnet18").write_text("a file where its folder should be")
    assert cli.main(["run", *words(compared), f"--out={out}", "--force"]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if "failed" in line]
    assert len(lines) == 1
    assert lines[0].startswith("transfer: resnet18 failed: can't make ")
    assert "Note: resnet18 failed" in captured.out
    assert "with one kind of method there is nothing to compare" in " ".join(captured.out.split())
    assert (out / "resnet34/result.json").is_file()
    assert cli.main(["report", str(out)]) == 0
    assert "resnet18 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_comparison_of_nothing_is_no_result(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((out / "frontier.json").read_text())
    for one in record["candidates"]:
        one |= {"state": "failed", "reason": "out of memory"}
    (out / "frontier.json").write_text(json.dumps(record))
    assert cli.main(["report", str(out)]) == 2
    assert f"{out} is no result" in capsys.readouterr().err


@pytest.mark.slow
def test_why_one_failed_is_said_in_options(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((out / "frontier.json").read_text())
    record["candidates"][0] |= {"state": "failed", "reason": "out of memory; use `weights=FILE`"}
    (out / "frontier.json").write_text(json.dumps(record))
    assert cli.main(["report", str(out)]) == 0
    assert "failed: out of memory; use --weights FILE." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--backbone=resnet18,resnet18"], "--backbone names resnet18 twice; give each once"),
        (["--backbone=resnet18,nonesuch"], "'nonesuch'"),
        (["--backbone=resnet18,"], "''"),
        (["--size=32x32,32X32"], "--size names 32x32 twice; give each once"),
        (["--size=32x32,1x1"], "--size is '1x1'"),
        (["--weights=a.pth"], "--weights a.pth is a file of one network, and 2 backbones are named"),
        (["--time-budget=10"], "--time-budget is '10'; give seconds, minutes or hours"),
        (["--time-budget=9m", "--backbone=resnet18"], "--time-budget drops candidates, and there is one"),
        ([], "several backbones or sizes need --out DIR"),
    ],
)
def test_what_can_not_be_used_is_refused_in_a_line_before_any_work(
    more: list[str], said: str, cold: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [f"--out={cold / 'out'}"] if more else []
    assert cli.main(["run", *words(cold, *out, *more)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert said in line
    assert {path.name for path in cold.iterdir()} == {"images"}


@pytest.mark.slow
def test_one_network_does_not_replace_the_page_of_several(
    compared: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (out / "report.html").read_bytes()
    given = ["run", *words_for(compared), *ENGINE, "--backbone=resnet18", f"--out={out}"]
    assert cli.main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("give another --out, or --force to replace its page")
    assert (out / "report.html").read_bytes() == page
    assert cli.main([*given, "--force", "--quiet"]) == 0


@pytest.mark.slow
def test_results_of_other_runs_are_not_written_over(
    compared: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(out / "resnet18-32x32/result.json", out)
    given = ["run", *words(compared), f"--out={out}"]
    assert cli.main(given) == 2
    assert "holds the result of one run" in capsys.readouterr().err
    (out / "result.json").unlink()
    other = ["--weights=embedded", "--backbone=resnet50", "--size=32x32,48x64"]
    shutil.move(out / "resnet18-32x32", out / "resnet50-32x32")
    assert cli.main([*given, *other]) == 2
    assert "--force" in capsys.readouterr().err


def test_other_commands_take_one_network(cold: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("extract", "curve"):
        assert cli.main([command, *words_for(cold), "--backbone=resnet18,resnet34"]) == 2
        assert "no classification network 'resnet18,resnet34'" in capsys.readouterr().err


def test_help_says_that_there_may_be_several(capsys: pytest.CaptureFixture[str]) -> None:
    for command, count in (("run", 2), ("extract", 0)):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert " ".join(capsys.readouterr().out.split()).count("several: A,B") == count
