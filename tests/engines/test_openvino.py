from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engines.samples import SIZE, engine_of, features, network_of, photographs, plan_of
from transfer.engines import build
from transfer.metrics import cosines

openvino = pytest.importorskip("transfer.engines.openvino")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nncf")
    path: Path = tmp_path_factory.mktemp("calibrated") / "model.safetensors"
    path.write_bytes(openvino.calibrate(openvino.convert(network_of("resnet34"), SIZE), [photographs(40)]))
    return path


@pytest.mark.slow
def test_int8_features_are_close_to_those_of_fp32(calibrated: Path) -> None:
    x = photographs(20, seed=3)
    engine = build(network_of("resnet34"), plan_of("openvino", "int8", batch=20), SIZE, calibrated)
    found, exact = features(engine, x), features(engine_of("resnet34", batch=20), x)
    assert 0.95 < cosines(found, exact).min() < 0.99999


@pytest.mark.slow
def test_a_calibrated_model_is_a_quarter_of_the_network(calibrated: Path) -> None:
    floats = sum(value.numel() for value in network_of("resnet34").state_dict().values()) * 4
    assert calibrated.stat().st_size < 0.35 * floats


@pytest.mark.exhaustive
def test_nothing_is_printed_while_calibrating(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nncf")
    openvino.calibrate(openvino.convert(network_of("squeezenet1_1"), SIZE), [photographs(2)])
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_converting_leaves_the_network_as_it_was() -> None:
    network = network_of("resnet34")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    model = openvino.convert(network, SIZE)
    features(openvino.OpenVINO(model, plan_of("openvino")), photographs(2))
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.slow
def test_an_image_by_itself_takes_all_cores_and_gets_the_same_features() -> None:
    alone = engine_of("resnet34", "openvino", batch=1)
    assert alone.in_flight == 1
    x = photographs(3)
    expected = features(engine_of("resnet34", "openvino", batch=3), x)
    found = np.concatenate([features(alone, x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.exhaustive
def test_openvinos_telemetry_is_never_loaded() -> None:
    script = (
        "import sys, torch\n"
        "from transfer.engines import openvino\n"
        "openvino.convert(torch.nn.Flatten(), (32, 32))\n"
        "sys.exit(any(name.startswith('openvino_telemetry') and sys.modules[name] for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


def test_arguments_of_the_process_are_hidden_and_back_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO takes `--verbose` as its own, and prints on standard output, where a result may be."""
    arguments = ["transfer", "run", "--json", "--verbose"]
    monkeypatch.setattr(sys, "argv", arguments)
    with openvino.no_arguments():
        assert sys.argv == ["transfer"]
    assert sys.argv is arguments
