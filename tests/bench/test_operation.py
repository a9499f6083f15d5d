from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench import conftest, operation, turns
from bench.profiles import PROFILES

pytest_plugins = ["pytester"]

COMMON = {"way": "svm", "reference": False, "device": "cpu", "threads": 2}
Run = Callable[..., tuple[pytest.RunResult, dict[str, Any]]]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that runs made-up benchmarks under the conftest of the real ones; the outcome and the file left."""
    monkeypatch.setattr(turns, "REST_S", 0)
    monkeypatch.setattr(turns, "MOST_ROUNDS", 0)  # the profile's rounds and no more
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)

    def run(source: str, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        path = pytester.path / "times.json"
        pytester.makepyfile(source)
        # pytest-benchmark warns where nothing was timed; Hypothesis's plugin imports it when a session ends.
        plugins = ("bench.conftest", "no:cacheprovider", "no:hypothesispytest")
        words = [*(f"-p{name}" for name in plugins), "-W", "ignore:Not saving anything"]
        done = pytester.runpytest_inprocess(*words, f"--benchmark-json={path}", *options)
        return done, json.loads(path.read_text()) if path.exists() and path.stat().st_size else {}

    return run


class TestVocabulary:
    def test_what_all_agree_on_passes(self) -> None:
        operation.check_info("fit", {**COMMON, "shape": [3, 4], "accuracy": 0.5})

    @pytest.mark.parametrize(
        ("group", "info", "message"),
        [
            (None, {**COMMON, "accuracy": 0.5}, "no group"),
            ("fit", {"way": "svm", "device": "cpu", "threads": 2, "accuracy": 0.5}, r"lacks \['reference'\]"),
            ("fit", {**COMMON, "accuracy": 0.5, "acuracy": 0.5}, r"unknown \['acuracy'\]"),
            ("fit", {**COMMON, "accuracy": np.float32(0.5)}, r"wrong kind for \['accuracy'\]"),
            ("fit", {**COMMON, "shape": [3, 4]}, "nothing shows that the answer was right"),
        ],
    )
    def test_what_differs_is_named(self, group: str | None, info: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            operation.check_info(group, info)


@pytest.mark.slow
def test_ways_are_timed_in_turn_and_each_is_a_benchmark_with_all_its_rounds(run: Run) -> None:
    done, times = run(
        """
        import gc
        import pytest

        @pytest.mark.benchmark(group="sum")
        def test_sum(operation):
            assert gc.get_freeze_count() > 0
            called = []
            operation.add("A", lambda: called.append("A"), lambda answer: {"accuracy": 1.0}, images=3)
            operation.add(
                "B", lambda: called.append("B"), lambda answer: {"cosine": 1.0}, reference=True, precision="fp32",
                warm_up=lambda: called.append("b"), at_most=2,
            )
            operation.time()
            assert "".join(called) == "Ab" + "AB" + "BA" + "AA"
        """
    )
    done.assert_outcomes(passed=1)
    first, second = times["benchmarks"]
    assert (first["name"], second["name"]) == ("test_sum[A]", "test_sum[B fp32]")
    assert first["fullname"].endswith("::test_sum[A]")
    assert first["group"] == second["group"] == "sum"
    assert (
        first["extra_info"].items() >= {"way": "A", "reference": False, "accuracy": 1.0, "images": 3}.items()
    )
    assert second["extra_info"].items() >= {"way": "B", "reference": True, "device": "cpu"}.items()
    assert first["extra_info"]["other_cores"] >= 0
    assert len(first["stats"]["data"]) == first["stats"]["rounds"] == PROFILES["fast"].rounds
    assert len(second["stats"]["data"]) == 2
    assert times["profile"] == "fast"
    assert "node" not in times["machine_info"]
    assert gc.get_freeze_count() == 0


def test_a_way_whose_answer_is_wrong_fails_alone_and_leaves_no_time(run: Run) -> None:
    done, times = run(
        """
        import pytest

        @pytest.mark.benchmark(group="sum")
        def test_sum(operation):
            def check(answer):
                assert answer == 2
                return {"accuracy": 1.0}
            operation.add("right", lambda: 2, check)
            operation.add("wrong", lambda: 3, check)
            operation.add("not shown", lambda: 2, lambda answer: {})
            operation.time()
        """
    )
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["SUBFAILED[[]wrong]*", "SUBFAILED[[]not shown]*"])
    assert [kept["extra_info"]["way"] for kept in times["benchmarks"]] == ["right"]
    assert sorted(times["skipped"]) == [
        "not shown failed: ValueError: nothing shows that the answer was right: store"
        " one of ['accuracy', 'cosine', 'scaled_by']",
        "wrong failed: assert 3 == 2",
    ]


@pytest.mark.parametrize("where", ["the warm-up", "a call", "a later call", "its preparation"])
def test_a_way_that_raises_an_error_fails_alone_and_the_others_are_timed(run: Run, where: str) -> None:
    done, times = run(
        f"""
        import pytest

        @pytest.mark.benchmark(group="sum")
        def test_sum(operation, subtests):
            rounds = []
            def fail(at):
                rounds.append(at)
                if at == {where!r} and (at != "a later call" or rounds.count(at) > 1):
                    raise RuntimeError("no such product\\nand more")
            def right(answer):
                return {{"accuracy": 1.0}}
            with subtests.test("bad"):
                fail("its preparation")
                call = "a later call" if {where!r} == "a later call" else "a call"
                operation.add("bad", lambda: fail(call), right, warm_up=lambda: fail("the warm-up"))
            operation.add("good", lambda: 2, right)
            operation.time()
        """
    )
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    [kept] = times["benchmarks"]
    assert kept["extra_info"]["way"] == "good"
    assert kept["stats"]["rounds"] == PROFILES["fast"].rounds
    assert times["skipped"] == {"bad failed: RuntimeError: no such product": 1}


def test_ways_that_cannot_be_had_are_skipped_and_an_operation_without_ways_too(run: Run) -> None:
    done, times = run(
        """
        import pytest

        @pytest.mark.benchmark(group="sum")
        def test_sum(operation, subtests):
            with subtests.test("absent"):
                pytest.skip("not installed")
            operation.time()
        """,
        "-rs",
        "-v",  # else pytest does not say why a subtest was skipped
    )
    done.stdout.fnmatch_lines(["*not installed*", "*no way of it can be timed here*"])
    assert not times.get("benchmarks")


@pytest.mark.slow
def test_two_ways_of_one_name_are_an_error(run: Run) -> None:
    done, _ = run(
        """
        import pytest

        @pytest.mark.benchmark(group="sum")
        def test_sum(operation):
            for batch in (1, 2, 2):
                operation.add("A", int, lambda answer: {"accuracy": 1.0}, batch=batch)
        """
    )
    done.stdout.fnmatch_lines(["*two ways are named 'A batch 2'*"])


@pytest.mark.slow
def test_a_quick_round_is_not_warmed_up(run: Run) -> None:
    done, times = run(
        """
        import pytest

        @pytest.mark.benchmark(group="sum")
        def test_sum(operation):
            called = []
            operation.add("A", lambda: called.append(1), lambda answer: {"accuracy": 1.0})
            operation.time()
            assert called == [1]
        """,
        "--profile=quick",
    )
    done.assert_outcomes(passed=1)
    assert times["benchmarks"][0]["stats"]["rounds"] == 1


@pytest.mark.slow
def test_the_clock_waits_for_cuda_at_both_edges_of_every_round(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", seen.append)
    monkeypatch.setattr(conftest, "seen", seen, raising=False)
    done, _ = run(
        """
        import pytest
        from bench import conftest

        @pytest.mark.benchmark(group="sum")
        @pytest.mark.parametrize("device", ["cuda", "cpu"])
        def test_it(operation, device):
            operation.add("A", lambda: conftest.seen.append("work"), lambda answer: {"accuracy": 1.0})
            operation.time()
        """
    )
    done.assert_outcomes(passed=2)
    rounds = PROFILES["fast"].rounds
    assert seen == ["work"] + ["cuda", "work", "cuda"] * rounds + ["work"] * (rounds + 1)


@pytest.mark.slow
def test_without_a_gpu_its_cases_are_skipped_with_a_reason(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done, _ = run(
        """
        import pytest

        @pytest.mark.benchmark(group="sum")
        @pytest.mark.parametrize("device", ["cpu", "cuda"])
        def test_it(operation, device):
            assert device == "cpu"
            operation.add("A", int, lambda answer: {"accuracy": 1.0})
            operation.time()
        """,
        "-rs",
    )
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(["*no CUDA device*"])
