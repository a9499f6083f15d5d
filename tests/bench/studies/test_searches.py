from __future__ import annotations

import pytest

from bench import features
from bench.studies import searches


@pytest.mark.slow
def test_exact_and_approximated_kernels_are_shown_with_their_scores(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "LANDMARKS", (20, 200, 10_000))  # the last are more than there are rows
    searches.show_nystrom(features.synthetic(240, 60, 60, width=32, classes=3), rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:16].strip() for line in lines] == ["exact", "SVC, one setting", "m = 20", "m = 200"]
    assert lines[0].split(";")[1] == lines[1].split(";")[1]  # the same predictions
    assert "'n_landmarks': 200" in lines[3]
