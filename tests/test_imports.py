"""Imports run one way; `docs` of the order are in ARCHITECTURE.md."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import transfer
from transfer.system.hardware import OPENMP_WAITS

PACKAGE = Path(transfer.__file__).parent
# Each line may import those above it, and nothing on its own line but what is named here.
LAYERS = [
    {"cgroups", "gpus", "text", "interrupt", "leases", "pickles", "embedded"},
    {"config", "ids", "names", "timing", "environment", "metrics", "render"},
    {"files", "data", "backbones"},
    {"records", "decode", "lagoon", "backbone", "index", "heads", "shards"},
    {"results", "images", "engines", "shelf", "nvjpeg"},
    {"store"},
    {"inventory"},
    {"pruning"},
    {"reading", "pretrain"},
    {"weights", "choice"},
    {"frozen"},
    {"extract"},
    {"model_files", "evaluation"},
    {"experiment", "report", "model"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
# What a layer would allow and the design does not.
NEVER = {
    "heads": {"images", "reading", "decode", "backbone", "weights", "extract", "store"},
    "store": {"backbone", "weights", "heads", "images", "data"},
    "shelf": {"backbone", "heads"},
    "report": {"extract", "heads", "images", "data", "store", "experiment", "evaluation"},
    "results": {"metrics", "timing", "environment"},
    "model": {"extract", "store", "images", "data"},
    "pretrain": {"images", "data", "heads", "store", "lagoon"},
    "inventory": {"images", "backbone", "heads", "lagoon"},
}


def room(path: Path) -> str:
    """The module or subpackage of `transfer` that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms of `transfer` that a file imports, anywhere in it."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "transfer":
            assert node.level == 0
            parts = (node.module or "").split(".")
            names = [alias.name for alias in node.names] if len(parts) == 1 else [parts[1]]
            rooms |= {name for name in names if not name.startswith("__")}
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("transfer.")}
    return rooms - {room(path)}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_down_the_layers(path: Path) -> None:
    layer = next((i for i, rooms in enumerate(LAYERS) if room(path) in rooms), None)
    assert layer is not None, f"{room(path)} has no layer in this test"
    below = set().union(*LAYERS[:layer])
    assert imported(path) <= below
    assert not imported(path) & NEVER.get(room(path), set())


def test_every_layer_exists() -> None:
    assert set().union(*LAYERS) == {room(path) for path in FILES}


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
    for given, told in (({}, "None\npassive []\n"), ({"OMP_WAIT_POLICY": "active"}, "active\nactive []\n")):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**unset, **given}
        )
        assert done.stdout == told


@pytest.mark.parametrize("name", transfer.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(transfer, name).__name__ == name
