"""Imports run one way, from folder to folder; ARCHITECTURE.md says what each folder is for."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

import transfer
from transfer.system.gpus import has_driver
from transfer.system.hardware import OPENMP_WAITS

PACKAGE = Path(transfer.__file__).parent
REPOSITORY = PACKAGE.parent
# Each line may import those above it, and nothing on its own line.
LAYERS = [
    {"system", "metrics"},
    {"config"},
    {"data", "heads"},
    {"backbones", "cache"},
    {"engines"},
    {"features"},
    {"finetuning"},
    {"serving"},
    {"evaluation"},
    {"report"},
    {"outputs"},
    {"cli"},
    {"__main__"},
]
# What a layer would allow and the design does not.
NEVER = {
    "config": {"metrics"},
    "data": {"metrics"},
    "backbones": {"heads", "metrics"},
    "cache": {"data", "heads", "metrics"},
    "engines": {"cache", "data", "heads"},
    "features": {"heads"},
    "finetuning": {"metrics"},
    "serving": {"cache", "finetuning"},
    "evaluation": {"backbones", "cache", "engines"},
    "outputs": {"backbones", "cache", "engines", "finetuning", "heads", "metrics"},
    "report": {"backbones", "cache", "data", "engines", "features", "finetuning", "heads", "serving"},
}
# Imports that the layers forbid and that are still there. Entries may go from this list; none may be added.
STILL_THERE = {
    # Untrained weights are made from training images, and kept in the store by the same function.
    ("backbones/weights.py", "cache"),
}
# Pairs of folders of which one imports the other, no more than that.
MAX_PAIRS = 63


def folder(path: Path) -> str:
    """The folder of `transfer` that a file lies in, or the module that lies in none."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported(path: Path) -> frozenset[str]:
    """The full names of what a file imports of this repository, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(name for name in names if name.split(".")[0] in ("transfer", "bench", "tests", "tools"))


def folders_imported(path: Path) -> set[str]:
    """The other folders that a file imports, but for those that are excused."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("transfer.")} - {folder(path)}
    where = path.relative_to(PACKAGE).as_posix()
    return {name for name in names if (where, name) not in STILL_THERE}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_down_the_layers(path: Path) -> None:
    layer = next((i for i, folders in enumerate(LAYERS) if folder(path) in folders), None)
    assert layer is not None, f"{folder(path)} has no layer in this test"
    below = set().union(*LAYERS[:layer])
    assert folders_imported(path) <= below
    assert not folders_imported(path) & NEVER.get(folder(path), set())


def test_every_layer_exists() -> None:
    assert set().union(*LAYERS) == {folder(path) for path in FILES}


def test_excused_imports_are_still_there() -> None:
    for where, name in STILL_THERE:
        assert any(one.startswith(f"transfer.{name}.") for one in imported(PACKAGE / where)), (where, name)


def test_reports_see_results_alone_and_one_of_them_the_statistics() -> None:
    seen = {
        (path.relative_to(PACKAGE / "report").as_posix(), name.split(".")[2])
        for path in FILES
        if folder(path) == "report"
        for name in imported(path)
        if name.startswith("transfer.evaluation.")
    }
    assert {pair for pair in seen if pair[1] != "results"} == {("differences.py", "statistics")}


def test_the_package_imports_nothing_beside_it() -> None:
    names = {name for path in PACKAGE.rglob("*.py") for name in imported(path)}
    assert {name.split(".")[0] for name in names} == {"transfer"}


def test_few_folders_import_each_other() -> None:
    pairs = {(folder(path), name) for path in FILES for name in folders_imported(path)}
    assert len(pairs) <= MAX_PAIRS


def test_few_modules_lie_outside_the_folders() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__", "config", "metrics"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_modules_are_short(path: Path) -> None:
    assert path.read_text().count("\n") < 300


def test_architecture_names_every_module() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    rows = dict(re.findall(r"^\| `([\w/]+)/` (.*)$", text, re.M))
    rows["heads"] += text[text.index("\nIn `heads/`") : text.index("\nImports run one way")]
    for path in FILES:
        parent = path.parent.relative_to(PACKAGE).as_posix()
        if parent != "." and path.stem not in ("__init__", "__main__"):
            assert re.search(rf"`{path.stem}(\.py)?`", rows.get(parent) or rows[folder(path)]), path


def test_tests_lie_in_the_same_folders() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    mirrored = {path.name for path in (REPOSITORY / "tests").iterdir() if (path / "__init__.py").exists()}
    assert mirrored == folders | {"bench", "tools", "trials"}


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"], ["run", "--no-such-flag"]])
def test_help_and_usage_errors_import_little(words: list[str]) -> None:
    code = (
        "import sys\n"
        "before = {name.split('.')[0] for name in sys.modules}\n"  # what the interpreter brought: .pth files
        "from transfer.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} - before - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(["transfer"])  # and the standard library


@pytest.mark.parametrize(
    "words", [["run", "none"], ["extract", "."], ["curve", "."], ["run", "--methods", "no"]]
)
def test_wrong_data_is_refused_before_torch_is_imported(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from transfer.cli import main\n"
        "print(main(sys.argv[1:]), [name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "2 []"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for name in ("boats", "water"):
        (root / name).mkdir()
        for i in range(10):
            Image.new("RGB", (32, 32), (i, i, i)).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize("command", ["run", "extract", "curve"])
@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--engine", "opnvino", "openvino"),
        ("--precision", "fp15", "fp16"),
        ("--backbone", "resnet5", "did you mean"),
        ("--backbone", "warp:net", "timm:NAME"),
        ("--size", "240", "240x800"),
        ("--layers", "layer3,layer3", "give each once"),
        ("--weights", "none.pth", "no such weights file"),
        ("--weights", "package", "are not of"),
    ],
)
def test_wrong_options_are_refused_before_torch_is_imported(
    command: str, option: str, value: str, hint: str, photos: Path
) -> None:
    message, heavy = _refusal(command, str(photos), option, value)
    assert hint in message
    assert heavy == []


def test_wrong_options_of_several_networks_are_refused_before_torch_is_imported(photos: Path) -> None:
    message, heavy = _refusal("run", str(photos), "--backbone", "resnet18,resnet5", "--out", "out")
    assert "did you mean" in message
    assert heavy == []


@pytest.mark.skipif(has_driver(), reason="torch is asked where there is a GPU's driver")
def test_a_prediction_on_a_gpu_that_is_not_there_is_refused_before_torch_is_imported(photos: Path) -> None:
    message, heavy = _refusal("predict", "out", str(photos), "--device", "cuda")
    assert "torch sees no CUDA device" in message
    assert heavy == []


def _refusal(*words: str) -> tuple[str, list[str]]:
    """The line that a command is refused by, and what was imported until then."""
    code = (
        "import sys\n"
        "from transfer.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "print(status, *(name for name in ('torch', 'torchvision', 'sklearn', 'scipy') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    status, *heavy = done.stdout.splitlines()[-1].split()
    assert status == "2"
    return done.stderr, heavy


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["evaluation.experiment", "features.fill", "serving.bundle", "data.batches"]
)
def test_torchvision_is_imported_only_where_a_network_is_built(module: str) -> None:
    """It imports torch's compiler, which takes a second."""
    code = f"import sys, transfer.{module}; print([n for n in sys.modules if n in ('torchvision', 'torch._dynamo')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_ray_is_imported_only_for_a_run_on_it(photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from transfer.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "print(status, [name for name in sys.modules if name.split('.')[0] == 'ray' or '.ray_' in name])"
    )
    words = [
        "extract",
        str(photos),
        "--store",
        str(tmp_path),
        "--backbone",
        "resnet18",
        "--weights",
        "random",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--engine", "eager", "--precision", "fp32", "--device", "cpu"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_page_is_written_without_torch() -> None:
    code = (
        "import sys, transfer.outputs.folder, transfer.data.thumbnails\n"
        "print([name for name in ('torch', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_a_command_says_how_openmp_waits_before_torch_is_imported_and_the_library_does_not() -> None:
    """OpenMP's library reads it once, when it is loaded."""
    code = (
        "import os, sys\n"
        "def heavy(): return [name for name in ('torch', 'numpy', 'sklearn') if name in sys.modules]\n"
        "import transfer\n"
        "from transfer.cli import commands; from transfer import cli\n"
        "print(os.environ.get('OMP_WAIT_POLICY'))\n"
        "def env(args):\n"
        "    print(os.environ.get('OMP_WAIT_POLICY'), heavy())\n"
        "    return 0\n"
        "commands.env = env\n"
        "cli.entry(['env'])"
    )
    unset = {name: value for name, value in os.environ.items() if name not in OPENMP_WAITS}
    for given, expected in (
        ({}, "None\npassive []\n"),
        ({"OMP_WAIT_POLICY": "active"}, "active\nactive []\n"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**unset, **given}
        )
        assert done.stdout == expected


@pytest.mark.parametrize("name", transfer.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(transfer, name).__name__ == name
