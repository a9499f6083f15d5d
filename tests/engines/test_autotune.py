"""Engines whose speed, setup and features are made up, on a clock that only they move."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from tests.reports import Reports
from transfer.engines import Engine, EngineError, Plan, autotune, trials
from transfer.engines.autotune import Choice, choose, choose_without_trials, count_compared
from transfer.engines.trials import Trial, parse_trials, try_engine
from transfer.system import hardware
from transfer.system.errors import UserError

EAGER = Plan(engine="eager", precision="fp32", device="cpu", threads=2, batch=8)
EAGER_BF16 = replace(EAGER, precision="bf16")
VINO = replace(EAGER, engine="openvino")
VINO_BF16 = replace(VINO, precision="bf16")
COMPILE = replace(EAGER, engine="compile")
COMPILE_BF16 = replace(COMPILE, precision="bf16")
ALL = (EAGER, VINO, COMPILE, EAGER_BF16, VINO_BF16, COMPILE_BF16)
X = np.zeros((8, 4, 4, 3), np.uint8)
TRUTH = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)


def trial(**fields: Any) -> Trial:
    """A trial made now, on a machine that was not busy."""
    return Trial(**{"cosine": 1.0, "made_at": time.time(), "contention": 0.0, **fields})


class World:
    """What each way takes to set up (seconds) and for a batch, and how far its features stray."""

    def __init__(self, ways: dict[Plan, tuple[float, float]], stray: dict[Plan, float] | None = None) -> None:
        self.ways = ways
        self.stray = stray or {}
        self.clock = 0.0
        self.built: list[Plan] = []
        self.images: Counter[Plan] = Counter()

    def now(self, device: str = "cpu") -> float:
        return self.clock

    def build(self, plan: Plan) -> Engine:
        plan = replace(plan, batch=8)  # plain PyTorch is tried in smaller ones
        self.built.append(plan)
        if plan not in self.ways:
            raise EngineError(plan, "no compiler")
        self.clock += self.ways[plan][0]
        return MadeUp(self, plan)

    def choose(
        self, images: int, options: tuple[Plan, ...] = ALL, trials: Any = (), least: float = 0.999
    ) -> Choice:
        left = dict.fromkeys(options, images)
        x_NHW3 = X[: count_compared(left)]
        return choose(options, left, self.build, x_NHW3, trials, least_cosine=least)


class MadeUp:
    def __init__(self, world: World, plan: Plan) -> None:
        self.world, self.plan = world, plan
        self.in_flight = 2 if plan.engine == "openvino" else 1

    def submit(self, x_NHW3: np.ndarray) -> Callable[[], np.ndarray]:
        self.world.clock += self.world.ways[self.plan][1] * len(x_NHW3) / 8
        self.world.images[self.plan] += len(x_NHW3)
        noise = np.random.default_rng(1).normal(size=TRUTH.shape).astype(np.float32)
        return lambda: (TRUTH + self.world.stray.get(self.plan, 0.0) * noise)[: len(x_NHW3)]


USUAL = {
    EAGER: (0.1, 1.0),
    EAGER_BF16: (0.1, 0.5),
    VINO: (2.0, 0.6),
    VINO_BF16: (2.0, 0.28),
    COMPILE: (20.0, 0.6),
    COMPILE_BF16: (20.0, 0.28),
}


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    def make(changes: dict[Plan, Any] | None = None, stray: dict[Plan, float] | None = None) -> World:
        ways = {plan: way for plan, way in {**USUAL, **(changes or {})}.items() if way}
        world = World(ways, stray)
        for module in (autotune, trials):
            monkeypatch.setattr(module, "now", world.now)
        monkeypatch.setattr(hardware, "_cpu_s_of_others", lambda: 0.0)  # whatever else runs here
        return world

    return make


def test_the_fastest_way_that_is_soon_ready_is_taken(usual: Callable[..., World]) -> None:
    world = usual()
    picked = world.choose(5000)
    assert picked.plan == VINO_BF16
    assert picked.reason == "measured"
    assert picked.engine is not None
    assert picked.engine.plan == VINO_BF16
    assert world.built == [EAGER, VINO_BF16]  # what can't win is not tried


def test_every_way_that_is_tried_is_reported(usual: Callable[..., World]) -> None:
    world, reports = usual(), Reports()
    choose(ALL, dict.fromkeys(ALL, 5000), world.build, X, [], least_cosine=0.999, on_progress=reports)
    assert reports.calls == [("choose", 0, 1, f"{plan.engine} {plan.precision}") for plan in world.built]


def test_choosing_costs_little_of_what_it_chooses_for(usual: Callable[..., World]) -> None:
    world = usual()
    picked = world.choose(5000)
    rate = {(t.engine, t.precision): t.images_per_s for t in picked.trials}["openvino", "bf16"]
    assert world.clock - 2.0 < 0.03 * 5000 / rate  # the 2 s until it is ready are no cost of choosing


def test_few_images_are_not_worth_a_long_setup(usual: Callable[..., World]) -> None:
    without_openvino = (EAGER, COMPILE, EAGER_BF16, COMPILE_BF16)
    assert usual().choose(200, without_openvino).plan == EAGER_BF16
    assert usual().choose(20_000, without_openvino).plan == COMPILE_BF16


@pytest.mark.parametrize("slow", [VINO_BF16, EAGER_BF16, COMPILE_BF16])
def test_a_way_that_is_usually_fast_and_is_not_here_is_left(slow: Plan, usual: Callable[..., World]) -> None:
    picked = usual({slow: (2.0, 15.0)}).choose(50_000)
    assert picked.plan == (COMPILE_BF16 if slow == VINO_BF16 else VINO_BF16)


def test_features_that_stray_from_fp32_are_never_taken(
    usual: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        picked = usual(stray={VINO_BF16: 0.1, EAGER_BF16: 0.1, COMPILE_BF16: 0.1}).choose(50_000)
    assert picked.plan.precision == "fp32"
    assert "openvino bf16 disagrees with fp32 (cosine 0.98" in caplog.text
    strayed = {(t.engine, t.precision): t.cosine for t in picked.trials}
    assert strayed["openvino", "bf16"] < 0.999


def test_what_is_not_finite_strays(usual: Callable[..., World]) -> None:
    assert usual(stray={VINO_BF16: np.inf}).choose(500).plan != VINO_BF16


def test_a_way_that_errs_is_passed_over_with_a_line(
    usual: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        picked = usual({VINO: None, VINO_BF16: None}).choose(200)
    assert picked.plan == EAGER_BF16
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["openvino bf16 fails here (no compiler); continuing without it"]
    assert ("openvino", "bf16") not in {(t.engine, t.precision) for t in picked.trials}


def test_no_engine_left_is_reported(usual: Callable[..., World]) -> None:
    with pytest.raises(
        UserError, match=r"openvino bf16: disagrees with fp32; .*`engine='eager', precision='fp32'`"
    ):
        usual(stray={VINO_BF16: 0.5, EAGER_BF16: 0.5}).choose(500, (VINO_BF16, EAGER_BF16))


def test_a_precision_that_was_named_is_kept(usual: Callable[..., World]) -> None:
    world = usual(stray={VINO_BF16: 0.06, EAGER_BF16: 0.06})
    options = (EAGER_BF16, VINO_BF16)
    assert world.choose(5000, options, least=autotune.SANE).plan == VINO_BF16
    assert EAGER in world.built  # what it is held against, though it was not asked for


def test_what_is_known_is_not_measured_again(usual: Callable[..., World]) -> None:
    first = usual().choose(5000)
    world = usual()
    again = world.choose(5000, trials=parse_trials([asdict(trial) for trial in first.trials]))
    assert (again.plan, again.reason) == (VINO_BF16, "measured before")
    assert world.built == [VINO_BF16]
    assert again.trials == first.trials


def test_what_was_not_worth_a_trial_may_be_for_more_images(usual: Callable[..., World]) -> None:
    options = (EAGER_BF16, COMPILE_BF16)
    few = usual().choose(200, options)
    world = usual()
    many = world.choose(20_000, options, trials=few.trials)
    assert (few.plan, many.plan) == (EAGER_BF16, COMPILE_BF16)
    assert world.built == [EAGER, COMPILE_BF16]
    assert len(many.trials) == 3


def test_a_way_known_to_be_good_that_fails_now_is_passed_over(usual: Callable[..., World]) -> None:
    first = usual().choose(5000)
    later = usual({VINO: None, VINO_BF16: None}).choose(500, trials=first.trials)
    assert later.plan == EAGER_BF16


def test_what_the_store_holds_counts_as_done(usual: Callable[..., World]) -> None:
    trials = [
        trial(engine=plan.engine, precision=plan.precision, setup_s=s, images_per_s=8 / batch_s)
        for plan, (s, batch_s) in USUAL.items()
    ]
    world = usual()
    left = {**dict.fromkeys(ALL, 1000), EAGER_BF16: 520}
    picked = choose(ALL, left, world.build, X, trials, least_cosine=0.999)
    assert picked.plan == EAGER_BF16


@pytest.mark.parametrize(
    ("held", "images", "plan", "reason"),
    [
        ({}, 5000, None, None),
        ({COMPILE: 5000}, 5000, COMPILE, "the cache holds its features"),
        ({COMPILE: 4990, EAGER: 4000}, 5000, COMPILE, "the cache holds its features"),
        ({VINO_BF16: 2500}, 5000, VINO_BF16, "the cache holds its features"),
        ({VINO_BF16: 2499}, 5000, None, None),
        ({}, 16, EAGER, "too few images for a trial"),
        ({VINO: 10}, 16, VINO, "the cache holds its features"),
    ],
)
def test_what_needs_no_trial(
    held: dict[Plan, int], images: int, plan: Plan | None, reason: str | None
) -> None:
    found = choose_without_trials(ALL, {option: images - held.get(option, 0) for option in ALL}, images)
    assert (found and found.plan, found and found.reason) == (plan, reason)


def test_what_leaves_no_choice_is_not_tried() -> None:
    assert choose_without_trials((COMPILE,), {COMPILE: 10**6}, 10**6) == Choice(
        plan=COMPILE, reason="asked for"
    )


def test_trials_that_are_none_are_left_out() -> None:
    good = asdict(trial(engine="eager", precision="fp32", setup_s=1, images_per_s=8))
    broken: list[Any] = [
        {},
        {"engine": "eager"},
        [],
        None,
        {**good, "setup_s": "soon"},
        {**good, "contention": "some"},
    ]
    numbers = ("setup_s", "images_per_s", "cosine", "made_at", "contention")
    broken += [{**good, name: value} for name in numbers for value in (math.inf, -math.inf, math.nan)]
    broken += [{**good, "images_per_s": 0}, {**good, "more": 1}]
    broken += [{name: value for name, value in good.items() if name != "made_at"}]
    # Further keys do no harm.
    assert [asdict(each) for each in parse_trials([*broken, good])] == [good, good]


def test_eagers_own_gain_tells_what_a_compiler_may_gain(usual: Callable[..., World]) -> None:
    """Where bf16 gains more than usual, as on a GPU, eager in bf16 does not hide what compiling it would gain."""
    ways = {EAGER: (0.1, 1.0), EAGER_BF16: (0.1, 1 / 6), COMPILE_BF16: (30.0, 1 / 11), COMPILE: (30.0, 0.6)}
    options = (EAGER, COMPILE, EAGER_BF16, COMPILE_BF16)
    few = usual(ways).choose(100, options)
    assert few.plan == EAGER_BF16
    assert usual(ways).choose(100_000, options, trials=few.trials).plan == COMPILE_BF16


def test_what_is_known_to_disagree_is_not_taken_from_the_store(usual: Callable[..., World]) -> None:
    trials = usual(stray={VINO_BF16: 0.1}).choose(500).trials
    left = {**dict.fromkeys(ALL, 500), VINO_BF16: 0}
    assert choose_without_trials(ALL, left, 500, trials) is None
    found = choose_without_trials(ALL, left, 500, trials, least_cosine=0.5)
    assert found is not None
    assert (found.plan, found.trials) == (VINO_BF16, trials)


def test_a_failure_of_plain_pytorch_is_reported(usual: Callable[..., World]) -> None:
    with pytest.raises(UserError, match=r"plain PyTorch in fp32 fails here \(no compiler\)"):
        usual({EAGER: None}).choose(500)


@pytest.mark.parametrize(
    "change",
    [{"made_at": 0.0}, {"made_at": 1e12}, {"contention": hardware.BUSY + 0.1}],
    ids=["old", "of the future", "busy"],
)
def test_trials_that_are_old_or_of_a_busy_machine_are_made_again(
    usual: Callable[..., World], change: dict[str, float]
) -> None:
    first = usual().choose(5000)
    stale = [replace(each, **change) for each in first.trials]
    world = usual()
    again = world.choose(5000, trials=stale)
    assert again.reason == "measured"
    assert world.built == [EAGER, VINO_BF16]
    assert all(each.is_current for each in again.trials)
    world = usual()
    assert world.choose(5000, trials=[replace(each, contention=None) for each in first.trials]).reason == (
        "measured before"
    )


def test_an_engine_that_disagreed_is_not_tried_again_however_old_that_is(usual: Callable[..., World]) -> None:
    strayed = usual(stray={VINO_BF16: 0.1}).choose(5000).trials
    world = usual()
    world.choose(5000, trials=[replace(each, made_at=0.0) for each in strayed])
    assert VINO_BF16 not in world.built


def test_short_rounds_are_timed_twice_and_one_that_was_disturbed_does_not_count(
    usual: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = usual({VINO: (0.1, 0.2)})
    spent = iter([0.0, 0.3, 0.0, 0.0])  # two batches are one round
    real = MadeUp.submit

    def disturbed(self: MadeUp, x_NHW3: np.ndarray) -> Callable[[], np.ndarray]:
        world.clock += next(spent)
        return real(self, x_NHW3)

    monkeypatch.setattr(MadeUp, "submit", disturbed)
    engine, found, x_ND = try_engine(VINO, world.build, X[:5], None, 1000)
    assert found.images_per_s == pytest.approx(8 / 0.2)
    assert found.setup_s == pytest.approx(0.1 + 0.3)
    assert next(spent, None) is None
    assert engine.plan == VINO
    np.testing.assert_array_equal(x_ND, TRUTH[:5])


@pytest.mark.parametrize(("most", "timed"), [(0, 16), (31, 16), (32, 32), (10_000, 32)])
def test_rounds_have_no_more_images_than_they_may(
    usual: Callable[..., World], most: float, timed: int
) -> None:
    world = usual()
    try_engine(VINO_BF16, world.build, X[:4], None, most)
    assert world.images[VINO_BF16] == timed


@pytest.mark.parametrize("plan", [COMPILE, replace(EAGER, device="cuda")], ids=["compile", "cuda"])
def test_what_is_ready_after_its_first_batch_is_timed_from_the_second_on(
    usual: Callable[..., World], plan: Plan
) -> None:
    world = usual({plan: (20.0, 0.6)})
    _, found, _ = try_engine(plan, world.build, X[:4], None, 0)
    assert world.images[plan] == 8 + 8
    assert found.setup_s == pytest.approx(20.6)


@pytest.mark.parametrize(
    ("left", "batch", "images"),
    [(17, 8, 4), (856, 8, 4), (1248, 8, 6), (5000, 8, 8), (5000, 128, 16), (99, 2, 2)],
)
def test_a_small_job_is_compared_on_few_images(left: int, batch: int, images: int) -> None:
    options = [replace(plan, batch=batch) for plan in ALL]
    assert count_compared(dict.fromkeys(options, left)) == images


@pytest.mark.parametrize("images", [860, 1248, 2500, 5000, 20_000, 100_000])
def test_choosing_costs_at_most_a_twentieth_of_the_forward_passes(
    usual: Callable[..., World], images: int
) -> None:
    """Whatever is built counts, but for the way that is taken."""
    world = usual({EAGER: (0.1, 0.9), VINO_BF16: (0.8, 0.28)})
    picked = world.choose(images)
    assert picked.plan == VINO_BF16
    rate = {(t.engine, t.precision): t.images_per_s for t in picked.trials}["openvino", "bf16"]
    assert world.clock - 0.8 <= 0.05 * images / rate


def test_what_takes_long_to_compile_is_tried_only_where_that_is_little_of_the_whole(
    usual: Callable[..., World],
) -> None:
    """Though it would be done first, if it gained what it usually does."""
    options = (EAGER, COMPILE)
    assert usual().choose(3000, options).plan == EAGER  # 375 s; compiling takes 24 s
    assert usual().choose(5000, options).plan == COMPILE


def test_compiling_takes_longer_on_a_busy_machine(
    usual: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = usual()
    monkeypatch.setattr(hardware.CpuContention, "share", lambda self, cores: 0.5)
    assert world.choose(5000, (EAGER, COMPILE)).plan == EAGER
    assert world.choose(10_000, (EAGER, COMPILE)).plan == COMPILE


@pytest.mark.parametrize("busy", [0.0, 0.01, 0.5])
def test_what_is_soon_ready_is_tried_for_a_small_job_on_a_busy_machine_too(
    usual: Callable[..., World], monkeypatch: pytest.MonkeyPatch, busy: float
) -> None:
    world = usual()
    monkeypatch.setattr(hardware.CpuContention, "share", lambda self, cores: busy)
    assert world.choose(400, (EAGER, VINO)).plan == VINO


def test_a_rival_that_is_usually_a_little_slower_is_tried_for_a_large_job(
    usual: Callable[..., World],
) -> None:
    faster = {COMPILE_BF16: (20.0, 0.2)}
    assert usual(faster).choose(5000).plan == VINO_BF16
    assert usual(faster).choose(50_000).plan == COMPILE_BF16


def test_trials_that_bring_nothing_leave_less_for_further_ones(usual: Callable[..., World]) -> None:
    ways = dict.fromkeys((COMPILE, COMPILE_BF16, EAGER_BF16), (30.0, 0.6))
    world = usual({**ways, EAGER: (0.1, 0.6), VINO_BF16: (0.8, 0.6), VINO: (0.8, 0.6)})
    world.choose(10_000)  # 750 s
    assert world.clock - 0.8 <= 0.05 * 750 + 30
