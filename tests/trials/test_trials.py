from __future__ import annotations

import math
import tempfile
from pathlib import Path

import pytest

from tests.trials import disks
from tests.trials.__main__ import _formatted
from tests.trials.suite import TRIALS

pytestmark = pytest.mark.trial


@pytest.mark.parametrize("name", TRIALS)
def test_a_round_of(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], pytestconfig: pytest.Config
) -> None:
    percent = pytestconfig.getoption("--trial-share")
    cases = math.ceil(percent * TRIALS[name].cases / 100) if percent < 100 else None
    counted = TRIALS[name].run(0, tmp_path, cases)
    with capsys.disabled():
        print(f"\n{name}: {_formatted(counted)}")


@pytest.mark.skipif(not disks.can_mount(), reason="only root can become another user")
def test_a_store_of_another_user() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        assert disks.forbidden(Path(folder))
