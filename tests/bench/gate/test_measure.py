"""Processes of two trees, timed by turns."""

from __future__ import annotations

import math
from pathlib import Path

import psutil
import pytest

from bench.gate import measure
from bench.gate.measure import Bench, Failed
from bench.gate.plugin import PARTS
from tests.bench.gate import made
from transfer.system.errors import UserError

pytestmark = pytest.mark.slow  # processes of pytest


@pytest.mark.trial
def test_a_process_has_the_tree_it_was_given(tmp_path: Path) -> None:
    old, new = made.tree(tmp_path / "old"), made.tree(tmp_path / "new", times=50)
    bench = Bench.of(new, tmp_path)
    names, _ = bench.tried(old, {"work", "control_sum"})
    assert names == {"work", "control_sum"}
    pairs = bench.blocks(old, new, names, n=2, seed=0, progress=lambda _: None)
    assert min(measure.logs(pairs["work"])) > math.log(5)  # fifty times the work


def test_names_are_collected_and_nothing_is_run(tmp_path: Path) -> None:
    suite = made.SUITE + made.WORK + "\n\ndef bench_fails(benchmark):\n    raise OSError\n"
    tree = made.tree(tmp_path / "tree", suite=suite)
    assert measure.names(tree, tmp_path) == {"control_sum", "work", "fails"}
    assert measure.names(tmp_path, tmp_path) == set()


def test_a_benchmark_that_fails_is_reported_and_the_others_run(tmp_path: Path) -> None:
    suite = made.SUITE + "\n\ndef bench_lost(benchmark):\n    import transfer\n\n    transfer.lost\n"
    tree = made.tree(tmp_path / "tree", suite=suite)
    names, output = Bench.of(tree, tmp_path).tried(tree, {"lost", "control_sum"})
    assert names == {"control_sum"}
    assert "AttributeError" in output


def test_a_benchmark_whose_answer_is_wrong_leaves_no_time(tmp_path: Path) -> None:
    wrong = (
        "\n\ndef bench_wrong(benchmark):\n    assert benchmark.pedantic(sum, args=([1],), rounds=3) == 2\n"
    )
    tree = made.tree(tmp_path / "tree", suite=made.SUITE + wrong)
    names, output = Bench.of(tree, tmp_path).tried(tree, {"wrong", "control_sum"})
    assert names == {"control_sum"}
    assert "assert 1 == 2" in output


def test_a_benchmark_that_hangs_is_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PROCESS_LIMIT_S", 2)
    hangs = "\n\ndef bench_hangs(benchmark):\n    import time\n\n    time.sleep(60)\n"
    tree = made.tree(tmp_path / "tree", suite=made.SUITE + hangs)
    assert Bench.of(tree, tmp_path).tried(tree, {"hangs"}) == (set(), "not done after 2 s")


def test_controls_are_spread_over_a_process() -> None:
    names = {*"abcdef", "control_x", "control_y", "control_z"}
    assert measure.spread(names) == ["control_x", "a", "b", "c", "control_y", "d", "e", "f", "control_z"]
    assert measure.spread({"a", "control_x"}) == ["control_x", "a"]
    assert measure.spread({"control_x", "control_y"}) == ["control_x", "control_y"]


def test_another_transfer_is_never_measured(tmp_path: Path) -> None:
    tree = made.tree(tmp_path / "tree")
    bench = Bench.of(tree, tmp_path)
    (tree / "transfer/__init__.py").unlink()
    (tree / "transfer").rmdir()
    with pytest.raises(UserError, match="tree: its own transfer can't be imported"):
        bench.tried(tree, {"work"})


def test_a_suite_that_cannot_be_collected(tmp_path: Path) -> None:
    tree = made.tree(tmp_path / "tree", suite="import nothing_of_that_name")
    with pytest.raises(UserError, match="the suite can't be collected"):
        measure.names(tree, tmp_path)


def test_inputs_that_cannot_be_made(tmp_path: Path) -> None:
    tree = made.tree(tmp_path / "tree", inputs="raise OSError('the disk is full')")
    with pytest.raises(UserError, match="can't be made: OSError: the disk is full"):
        Bench.of(tree, tmp_path)


@pytest.mark.trial
def test_a_benchmark_that_fails_the_second_time(tmp_path: Path) -> None:
    once = f"""

def bench_once(benchmark):
    import os
    from pathlib import Path

    mark, own = Path({str(tmp_path / "mark")!r}), str(os.getpid())
    assert not mark.exists() or mark.read_text() == own
    mark.write_text(own)
    benchmark(sum, [])
"""
    tree = made.tree(tmp_path / "tree", suite=made.SUITE + once)
    bench = Bench.of(tree, tmp_path)
    assert "once" in bench.tried(tree, {"once", "control_sum"})[0]
    with pytest.raises(Failed, match="once ran on tree and then failed"):
        bench.blocks(tree, tree, {"once", "control_sum"}, n=1, seed=0, progress=lambda _: None)


def test_half_of_the_blocks_begin_with_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def block(self: Bench, trees: tuple[Path, Path], names: set[str]) -> dict[Path, dict[str, float]]:
        order.extend(tree.name for tree in trees)
        return {tree: dict.fromkeys(names, 1.0) for tree in trees}

    monkeypatch.setattr(Bench, "_block", block)
    bench, base, head = Bench(suite=tmp_path, inputs=tmp_path), tmp_path / "base", tmp_path / "head"
    bench.blocks(base, head, {"a"}, n=6, seed=1, progress=lambda _: None)
    firsts = order[::2]
    assert firsts.count("base") == firsts.count("head") == 3
    assert firsts != sorted(firsts)
    assert set(zip(order[::2], order[1::2], strict=True)) == {("base", "head"), ("head", "base")}


@pytest.mark.skipif(
    not hasattr(psutil.Process, "cpu_affinity"), reason="this system pins no process to a core"
)
def test_both_processes_of_a_block_have_one_core(tmp_path: Path) -> None:
    log = tmp_path / "log"
    where = f"""

def bench_where(benchmark):
    import psutil
    from pathlib import Path

    with Path({str(log)!r}).open("a") as log:
        log.write(f"{{psutil.Process().cpu_affinity()}}\\n")
    benchmark.pedantic(sum, args=([1],), rounds=1)
"""
    before = psutil.Process().cpu_affinity()
    tree = made.tree(tmp_path / "a", suite=made.SUITE + where)
    Bench.of(tree, tmp_path)._block((tree, made.tree(tmp_path / "b")), {"where", "control_sum"})
    [core] = set(log.read_text().splitlines())
    assert core in {str([number]) for number in before}
    assert psutil.Process().cpu_affinity() == before


TURN = """

def bench_turn(benchmark):
    import transfer
    from pathlib import Path

    with Path({log!r}).open("a") as log:
        log.write(Path(transfer.__file__).parents[1].name + " ")
    benchmark.pedantic(sum, args=([1],), rounds=1)
"""


@pytest.mark.trial
def test_processes_of_a_block_take_turns(tmp_path: Path) -> None:
    log = tmp_path / "log"
    old, new = (
        made.tree(tmp_path / name, suite=made.SUITE + TURN.format(log=str(log))) for name in ("a", "b")
    )
    bench = Bench.of(new, tmp_path)
    bench.blocks(old, new, {"turn", "control_sum"}, n=2, seed=0, progress=lambda _: None)
    turns = log.read_text().split()
    blocks = turns[: 2 * PARTS], turns[2 * PARTS :]
    assert sorted(block[0] for block in blocks) == ["a", "b"]
    for first, *others in blocks:
        second = {"a": "b", "b": "a"}[first]
        assert [first, *others] == [first, second] * PARTS


@pytest.mark.trial
def test_a_process_that_dies_is_not_waited_for(tmp_path: Path) -> None:
    dies = """

def bench_dies(benchmark):
    import os
    import transfer

    if transfer.work() != 190:
        os._exit(3)
    benchmark(sum, [])
"""
    old = made.tree(tmp_path / "old", suite=made.SUITE + dies)
    new = made.tree(tmp_path / "new", suite=made.SUITE + dies)
    (new / "transfer/__init__.py").write_text("def work():\n    return 190\n")
    bench = Bench.of(new, tmp_path)
    with pytest.raises(Failed, match="ran on old and then failed"):
        bench.blocks(new, old, {"dies", "control_sum"}, n=1, seed=0, progress=lambda _: None)
