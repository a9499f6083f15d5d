"""Small trees for the gate: a `transfer` with one function, and a suite that times it."""

from __future__ import annotations

from pathlib import Path

from bench.gate import plugin

SUITE = """
def bench_control_sum(benchmark):
    benchmark.pedantic(sum, args=(range(20_000),), rounds=5)
"""
WORK = """

def bench_work(benchmark):
    import transfer

    benchmark.pedantic(transfer.work, rounds=5)
"""
INPUTS = """
import sys
from pathlib import Path

Path(sys.argv[1]).mkdir()
"""


def tree(folder: Path, *, times: int = 1, suite: str = SUITE + WORK, inputs: str = INPUTS) -> Path:
    """A tree whose function does its work so many times."""
    gate = folder / "bench/gate"
    gate.mkdir(parents=True)
    (folder / "bench/__init__.py").touch()
    (gate / "__init__.py").touch()
    (gate / "suite.py").write_text(suite)
    (gate / "fixtures.py").write_text(inputs)
    (gate / "plugin.py").write_text(Path(plugin.__file__).read_text())
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\npython_functions = ['bench_*']\n")
    (folder / "transfer").mkdir()
    (folder / "transfer/__init__.py").write_text(f"def work():\n    return sum(range(20_000 * {times}))\n")
    return folder
