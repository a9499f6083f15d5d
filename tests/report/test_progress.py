from __future__ import annotations

import io

import pytest
from rich.console import Console

from transfer.report.progress import LINE_EVERY_S, Bar, Lines, State, format_duration
from transfer.report.rendering import progress


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_phase_of_parts_names_the_part(clock: FakeClock) -> None:
    state = State(clock)
    state.update("fit", 2, 7, "logreg")
    clock.now_s += 60
    assert state.text == "fit: logreg (3 of 7)"
    assert state.pace == ""  # the methods that are left may take longer or shorter
    state.update("weights", 0, 1, "imagenet")
    assert state.text == "weights: imagenet"
    state.update("load", 0, 1)
    assert state.text == "load"


def test_like_parts_have_a_rate_and_a_time_left(clock: FakeClock) -> None:
    state = State(clock)
    state.update("extract", 0, 9000, "eager bf16", "images")
    assert state.pace == ""
    clock.now_s += 10
    state.update("extract", 300, 9000, "eager bf16", "images")
    assert state.text == "extract: eager bf16, 300 of 9,000 images"
    assert state.pace == "30.0/s, 5 min left"


def test_unlike_parts_whose_costs_are_known_have_about_a_time_left(clock: FakeClock) -> None:
    state = State(clock)
    state.update("repeat", 0, 70, "fc, split 1 of 10", share=0.0)
    clock.now_s += 30
    state.update("repeat", 10, 70, "svm, split 1 of 10", share=0.25)
    assert state.text == "repeat: svm, split 1 of 10 (11 of 70)"
    assert state.pace == "about 90 s left"
    clock.now_s += 20
    assert state.pace == "about 70 s left"
    clock.now_s += 1000
    assert state.pace == "about 0 s left"


def test_a_part_may_say_how_far_it_is(clock: FakeClock) -> None:
    state = State(clock)
    state.update("repeat", 0, 2, "unfreeze:layer4, split 1 of 2", share=0.0)
    clock.now_s += 30
    state.update("repeat", 0, 2, "unfreeze:layer4, split 1 of 2, epoch 2 of 2", share=0.25)
    assert state.pace == "about 90 s left"


def test_with_an_earlier_run_the_time_left_is_that_of_the_whole_run(clock: FakeClock) -> None:
    state = State(clock, {"read": 1.0, "fit": 20.0, "repeat": 100.0})
    state.update("read", 0, 900, "", "images")
    assert state.pace == "about 2 min left, as in the last run"
    state.update("choose", 0, 1)  # the earlier run found features in the cache
    state.update("extract", 0, 900, "", "images")
    clock.now_s += 10
    state.update("extract", 300, 900, "", "images")
    assert state.pace == "30.0/s, about 2 min left, as in the last run"  # 20 s of this, 120 s of what comes
    state.update("fit", 0, 7, "fc")
    clock.now_s += 5
    state.update("fit again", 0, 2, "fc")  # no phase of a result: its seconds are those of fits
    assert state.pace == "about 115 s left, as in the last run"
    clock.now_s += 1000
    assert (
        state.pace == "about 100 s left, as in the last run"
    )  # longer than before: by how much more is not known
    state.update("repeat", 0, 70, "fc", share=0.0)
    clock.now_s += 30
    state.update("repeat", 10, 70, "fc", share=0.5)
    assert state.pace == "about 30 s left, as in the last run"
    clock.now_s += 1000
    state.update("write", 0, 2, "result.json")
    assert state.pace == ""


def test_a_phase_that_begins_again_has_a_new_rate(clock: FakeClock) -> None:
    """As where an engine fails, and another one computes the rest."""
    state = State(clock)
    state.update("extract", 0, 900, "", "images")
    clock.now_s += 100
    state.update("extract", 100, 900, "", "images")
    assert not state.update("extract", 0, 800, "", "images")
    clock.now_s += 10
    state.update("extract", 100, 800, "", "images")
    assert state.pace == "10.0/s, 70 s left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7000, "117 min"), (7200, "2 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


class TestLines:
    def test_every_phase_has_one_at_once(self, clock: FakeClock) -> None:
        lines: list[str] = []
        on_progress = Lines(lines.append, clock)
        on_progress("read", 0, 48, "", "images")
        on_progress("read", 48, 48, "", "images")
        on_progress("weights", 0, 1)
        on_progress("weights", 1, 1)
        on_progress("fit", 0, 2, "fc")
        on_progress("fit", 1, 2, "svm")
        on_progress("fit", 2, 2)
        assert lines == ["read: 0 of 48 images", "weights", "fit: fc (1 of 2)"]

    def test_a_long_phase_has_more_but_few(self, clock: FakeClock) -> None:
        lines: list[str] = []
        on_progress = Lines(lines.append, clock)
        for done in range(801):
            on_progress("extract", done, 800, "", "images")
            clock.now_s += LINE_EVERY_S / 80
        assert len(lines) == 1 + 9
        assert lines[1] == "extract: 80 of 800 images, 8.0/s, 90 s left"

    def test_a_phase_that_begins_again_at_once_is_not_repeated(self, clock: FakeClock) -> None:
        lines: list[str] = []
        on_progress = Lines(lines.append, clock)
        for _ in range(3):
            on_progress("fit again", 0, 1, "knn")
            on_progress("fit again", 1, 1)
        assert lines == ["fit again: knn"]


class TestBar:
    def test_shows_the_current_phase_alone_and_leaves_nothing(self) -> None:
        output = io.StringIO()
        bar = Bar(Console(file=output, force_terminal=True, width=80, legacy_windows=False, _environ={}))
        with bar.bars:
            bar("read", 0, 48, "", "images")
            bar("read", 16, 48, "", "images")
            bar.bars.refresh()
            bar("fit", 2, 7, "[red]svm\x1b[2J")
            bar.bars.refresh()
            assert len(bar.bars.tasks) == 1
            shown = output.getvalue()
        assert "read: 16 of 48 images" in shown
        assert (
            "fit: [red]svm\N{REPLACEMENT CHARACTER}[2J (3 of 7)" in shown
        )  # a name is neither markup nor code
        assert output.getvalue().endswith(
            "\x1b[?25h\r\x1b[1A\x1b[2K"
        )  # the cursor is back, the line is erased

    def test_is_not_drawn_at_every_call(self) -> None:
        bar, moves = Bar(Console(file=io.StringIO(), force_terminal=True)), []
        bar._state.clock = FakeClock()
        bar.bars.update = lambda *_, **values: moves.append(values["completed"])  # type: ignore[method-assign]
        for done in range(10_001):
            bar("extract", done, 10_000, "", "images")
        assert moves == [0, 10_000]


def test_quiet_and_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with progress(quiet) as on_progress:
            on_progress("fit", 0, 7, "fc\n")
        assert capsys.readouterr().err == (
            "" if quiet else "transfer: fit: fc\N{REPLACEMENT CHARACTER} (1 of 7)\n"
        )
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("TERM", "dumb")  # which can't redraw a line
    with progress(False) as on_progress:
        on_progress("fit", 0, 7, "fc")
    assert capsys.readouterr().err == "transfer: fit: fc (1 of 7)\n"
