from __future__ import annotations

import json

from tests.report.conftest import WriteRun
from transfer.evaluation import results
from transfer.report.card import card

METADATA = {
    "data": "boats",
    "backbone": "resnet18",
    "weights": "random",
    "classes": json.dumps(["a", "b", "c|d"]),
    "input_size": "48x64",
    "any_size": "true",
    "precision": "int8",
}


def test_it_has_the_data_and_the_scores_of_the_method(write_run: WriteRun) -> None:
    result = results.load(write_run("run", classes=("a", "b", "c|d")))
    method = result.methods[0]
    text = card({**METADATA, "method": method["name"]}, [("checked", "equal")], result)
    assert "| checked | equal |" in text
    assert "stretched to 48x64" in text
    assert "fitted on: int8" in text
    assert "a, b, c\\|d" in text
    assert f"**Data**: {result.data['name']}, " in text
    assert f"| test | {method['test']['accuracy']:.3f} (" in text
    assert "| c\\|d | 12 | " in text


def test_without_a_result_it_says_what_the_file_is() -> None:
    text = card({**METADATA, "method": "fc", "any_size": "false"}, [], None)
    assert "RGB, 48x64 (others: stretched to it beforehand)" in text
    assert "Scores" not in text


def test_it_has_what_features_were_made_of() -> None:
    own = {"method": "fc", "resize": "crop", "layers": "layer3,layer4", "transform": "l2,pca:8"}
    text = card({**METADATA, **own}, [], None)
    assert "cropped to 48x64" in text
    assert "random weights, frozen, layers layer3,layer4 |" in text
    assert "| decoder | of those features: Pillow |" in text
    reduced = card({**METADATA, **own, "decoder": "pillow-reduced"}, [], None)
    assert "Pillow, JPEGs at a reduced scale" in reduced
    assert "| head | fc on features by l2,pca:8 |" in text
