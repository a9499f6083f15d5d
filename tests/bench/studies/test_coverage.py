import pytest

from bench.studies import coverage


def test_a_score_without_spread_is_covered_by_intervals_that_hold_it() -> None:
    rows = list(coverage.cover_scores(runs=20))
    assert {row.score for row in rows} == {"accuracy", "macro F1", "recall"}
    assert all(row.covered + row.above + row.below == pytest.approx(1) for row in rows)
    assert min(row.covered for row in rows) > 0.7


@pytest.mark.slow
def test_the_study_has_every_interval_over_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "CASES", coverage.CASES[:1])
    rows = [*coverage.cover_groups(runs=20), *coverage.cover_group_differences(runs=20)]
    assert [(row.model, row.score) for row in rows] == [
        *((kind, score) for kind in ("groups", "images") for score in ("accuracy", "macro F1", "recall")),
        ("groups", "accuracy"),
        ("groups", "macro F1"),
    ]
    assert min(row.covered for row in rows if row.model == "groups") > 0.7
