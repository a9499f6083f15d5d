import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.reporting import record
from tools import pictures
from transfer.evaluation import results
from transfer.system.errors import UserError

ROOT = Path(__file__).parents[2]


def words(svg):
    return " ".join("".join(element.itertext()) for element in ElementTree.fromstring(svg).iter()).replace(
        "\xa0", " "
    )


def test_terminal_shows_the_figures_of_the_result_and_requests_nothing():
    result = results.load(ROOT / "tests" / "recorded" / "result-v1.json")
    svg = pictures.terminal(result)
    for method in result.methods:
        assert f"{method['test']['accuracy']:.3f}" in words(svg)
    assert not re.search(r"url\(.?http|href", svg)


def test_speed_shows_the_ratio_of_every_compared_operation():
    filed = record.load_filed(record.RESULTS)
    svg = pictures.speed(filed[-1], [])
    ElementTree.fromstring(svg)
    compared = pictures.by_device(filed[-1], None)
    ratios = [one.ratio for pair in compared.values() for one in pair if one.ratio]
    assert len(ratios) == len(re.findall("<title>[^<]*: ", svg)) > 3


def test_record_without_ratios_is_refused():
    shown = record.load_filed(record.RESULTS)[0]
    alone = [benchmark for benchmark in shown.benchmarks if not benchmark["reference"]]
    with pytest.raises(UserError, match="no ratio"):
        pictures.speed(record.Record(**{**vars(shown), "benchmarks": alone}), [])
