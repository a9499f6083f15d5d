from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from tests.refusals import refusal
from tests.reports import Reports
from tests.samples import MakeImages
from transfer.config import RunConfig
from transfer.evaluation import experiment
from transfer.evaluation.candidates import Candidate, compare_candidates, list_candidates
from transfer.evaluation.experiment import Experiment
from transfer.system import schemas
from transfer.system.errors import UserError

pytestmark = pytest.mark.usefixtures("slim_resnets", "timed_once")


def config(root: Path, **settings: Any) -> RunConfig:
    given = {
        "weights": "random",
        "device": "cpu",
        "engine": "eager",
        "precision": "fp32",
        "methods": ("knn",),
        **settings,
    }
    return RunConfig(data=str(root / "images"), store=root / "store", **given)


class TestList:
    @pytest.mark.slow
    def test_every_backbone_has_every_size(self, tmp_path: Path) -> None:
        found = list_candidates(config(tmp_path), ["resnet18", "timm:resnet10t"], [(32, 32), (64, 96)])
        assert [one.name for one in found] == [
            "resnet18-32x32",
            "resnet18-64x96",
            "timm_resnet10t-32x32",
            "timm_resnet10t-64x96",
        ]
        assert found[1].config == config(tmp_path, backbone="resnet18", size=(64, 96))
        assert [one.name for one in list_candidates(config(tmp_path), ["resnet18"])] == ["resnet18"]

    @pytest.mark.parametrize(
        ("backbones", "settings", "said"),
        [
            (["resnet18", "resnet18"], {}, "`backbone` names resnet18 twice"),
            (["resnet18", "nonesuch"], {}, "no classification network 'nonesuch'"),
            (["resnet18", ""], {}, "no classification network ''"),
            (["resnet18", "nowhere:x"], {}, "no source of networks 'nowhere'"),
            (["resnet18", "resnet34"], {"weights": "w.pth"}, "is a file of one network, and 2 backbones"),
            (["resnet18", "resnet50"], {"weights": "embedded"}, "`weights='embedded'` is a resnet50"),
            (["resnet18", "resnet34"], {"methods": ("nonesuch",)}, "`methods` is 'nonesuch'"),
            (
                ["resnet18", "timm:resnet10t"],
                {"weights": "imagenet"},
                "are not of `backbone='timm:resnet10t'`",
            ),
        ],
    )
    def test_what_can_not_be_used_is_refused_before_an_image_is_read(
        self, backbones: list[str], settings: dict[str, Any], said: str, tmp_path: Path
    ) -> None:
        assert said in refusal(list_candidates, config(tmp_path, **settings), backbones)

    def test_sizes_are_checked_for_every_network(self, tmp_path: Path) -> None:
        given = config(tmp_path)
        assert "64x96 twice" in refusal(list_candidates, given, ["resnet18"], [(64, 96), (64, 96)])
        message = refusal(list_candidates, given, ["resnet18", "vit_b_16"], [(224, 224), (64, 96)])
        assert message.startswith("vit_b_16 can't take images of 64x96")

    def test_a_time_budget_needs_several(self, tmp_path: Path) -> None:
        message = refusal(list_candidates, config(tmp_path), ["resnet18"], time_budget_s=60.0)
        assert "`time_budget` drops candidates, and there is one" in message

    def test_names_of_one_folder_are_refused(self, tmp_path: Path) -> None:
        message = refusal(list_candidates, config(tmp_path), ["hf:./a/b", "hf:./a_b"])
        assert "would be kept in one folder, hf_._a_b" in message

    def test_given_features_have_no_backbone(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "images.npz", x=np.zeros((4, 2), np.float32), y=np.arange(4))
        given = replace(config(tmp_path), data=str(tmp_path / "images.npz"))
        assert "holds features" in refusal(list_candidates, given, ["resnet18", "resnet34"])


@pytest.fixture(scope="module")
def root(slim_resnets: None, make_images: MakeImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candidates")
    make_images(folder / "images", classes=3, train=16, valid=8, test=6)
    return folder


@pytest.mark.slow
class TestCompare:
    def compare(
        self, found: list[Candidate], **settings: Any
    ) -> tuple[dict[str, Any], dict[str, Experiment]]:
        kept: dict[str, Experiment] = {}
        reports = settings.setdefault("on_progress", Reports())
        record = compare_candidates(found, lambda one, done: kept.update({one.name: done}), **settings)
        assert reports is settings["on_progress"]
        jsonschema_rs.validate(schemas.load_schema("frontier"), {**record, "points": []})
        return record, kept

    def test_each_is_what_a_run_of_its_own_is_and_images_are_read_once(self, root: Path) -> None:
        read = []

        def on_progress(phase: str, done: int, *_: object) -> None:
            if phase == "read" and done == 0:
                read.append(phase)

        found = list_candidates(config(root), ["resnet18", "resnet34"], [(32, 32), (64, 96)])
        record, kept = self.compare(found, on_progress=on_progress)
        assert read == ["read"]
        assert list(kept) == [one.name for one in found]
        assert {one["state"] for one in record["candidates"]} == {"compared"}
        assert record["halving"] is None
        for one in found:
            alone, own = experiment.run(one.config), kept[one.name].result
            for part in ("config", "data", "backbone"):
                assert getattr(own, part) == getattr(alone, part)
            assert own.features["key"] == alone.features["key"]
            for method, expected in zip(own.methods, alone.methods, strict=True):
                assert method["test"] == expected["test"]
            assert own.seconds["read"]

    def test_one_that_fails_costs_the_others_nothing(
        self, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = list_candidates(config(root), ["resnet18", "resnet34"])
        broken = replace(found[0], config=replace(found[0].config, weights=str(root / "none.pth")))
        record, kept = self.compare([broken, found[1]])
        assert list(kept) == ["resnet34"]
        failed, compared = record["candidates"]
        assert (failed["state"], compared["state"]) == ("failed", "compared")
        assert "no such weights file" in failed["reason"]
        assert "resnet18 failed: no such weights file" in caplog.text

    def test_all_that_fail_are_an_error(self, root: Path) -> None:
        (found,) = list_candidates(config(root, weights="random"), ["resnet18"])
        broken = replace(found, config=replace(found.config, weights=str(root / "none.pth")))
        with pytest.raises(UserError, match="no candidate could be compared"):
            compare_candidates([broken], lambda *_: None)

    def test_a_result_that_can_not_be_kept_is_a_candidate_that_failed(self, root: Path) -> None:
        def keep(one: Candidate, _: Experiment) -> None:
            if one.name == "resnet18":
                raise UserError("disk full")

        record = compare_candidates(list_candidates(config(root), ["resnet18", "resnet34"]), keep)
        assert [one["reason"] for one in record["candidates"]] == ["disk full", None]

    def test_a_time_budget_drops_by_validation_images_and_loses_no_feature(
        self, root: Path, tmp_path: Path
    ) -> None:
        given = replace(config(root, engine="auto", precision="auto"), store=tmp_path / "store")
        found = list_candidates(given, ["resnet18", "resnet34"], [(32, 32), (64, 96)])
        record, kept = self.compare(found, time_budget_s=1e6)
        (first,) = record["halving"]["rounds"]
        assert len(first["candidates"]) == 4
        assert first["images"] == 3 * (2 + 1)
        assert [one["computed"] for one in first["candidates"]] == [9] * 4
        states = {one["name"]: one["state"] for one in record["candidates"]}
        assert sorted(states.values()) == ["compared"] * 2 + ["dropped"] * 2
        assert {name for name, state in states.items() if state == "dropped"} == set(first["dropped"])
        scores = {one["name"]: one["score"] for one in first["candidates"]}
        assert min(scores[name] for name in kept) >= max(scores[name] for name in first["dropped"])
        for done in kept.values():
            assert done.result.features["computed"] == 3 * (16 + 8 + 6) - 9
            # The engine of the first round is kept, since another one would have none of its features.
            assert "auto" not in (done.config.engine, done.config.precision)

    def test_a_time_that_is_used_up_leaves_the_best_alone(self, root: Path) -> None:
        found = list_candidates(config(root), ["resnet18", "resnet34"], [(32, 32), (64, 96)])
        record, kept = self.compare(found, time_budget_s=1e-9)
        states = [one["state"] for one in record["candidates"]]
        assert states == ["compared", "not reached", "not reached", "not reached"]
        assert list(kept) == [found[0].name]
        assert "were used within the round" in record["halving"]["stopped"]
