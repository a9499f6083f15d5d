from __future__ import annotations

import subprocess
import sys

import pytest

from tests.reports import Reports
from transfer.system.progress import reported


def test_a_phase_of_one_part_begins_and_ends() -> None:
    reports = Reports()
    with reported(reports, "load", "network"):
        assert reports.calls == [("load", 0, 1, "network")]
    assert reports.phases() == ["load"]


def test_a_phase_that_fails_does_not_end() -> None:
    reports = Reports()
    with pytest.raises(ValueError, match="stop"), reported(reports, "load"):
        raise ValueError("stop")
    assert reports.calls == [("load", 0, 1, "")]


@pytest.mark.parametrize("output", ["a pipe that nobody reads", "a full disk"])
def test_work_goes_on_where_lines_can_no_longer_be_written(output: str) -> None:
    target = "os.open('/dev/full', os.O_WRONLY)" if output == "a full disk" else "write"
    code = f"""
import os
from transfer.system.progress import print_line

read, write = os.pipe()
os.close(read)
os.dup2({target}, 2)
print_line("one")
print_line("two")
print("went on")
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    assert done.stdout == "went on\n"
    assert done.returncode == 0 or output == "a full disk"  # Python itself ends with 120 then
