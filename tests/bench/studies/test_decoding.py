from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.studies import decoding
from transfer.data import decode

SIZE = (150, 200)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    x_HW3 = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(x_HW3).save(tmp_path / "1.jpg")
    return tmp_path / "1.jpg"


def test_photographs_are_made_larger_or_repeated(photograph: Path) -> None:
    for make in (decoding.enlarged, decoding.repeated):
        assert decode.size_of(make(photograph, SIZE)) == SIZE
    x_HW3 = decode.pixels(decoding.repeated(photograph, (80, 120)), (80, 120)).astype(int)
    np.testing.assert_allclose(x_HW3[:40, :60].mean((0, 1)), x_HW3[40:, 60:].mean((0, 1)), atol=1)


@pytest.mark.slow
def test_other_decoders_give_the_pixels_of_pillow(photograph: Path) -> None:
    table = decoding.time_decoders([photograph], [SIZE], (32, 32), rounds=1)
    assert [row[1] for row in table.rows[:2]] == ["pillow", "pillow-reduced"]
    assert all(apart == "0" for _, decoder, _, _, apart in table.rows if decoder != "pillow-reduced")


@pytest.mark.parametrize("option", ["--images", "--rounds"])
def test_no_images_and_no_rounds_are_refused(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["decoding", "photographs", f"{option}=0"])
    with pytest.raises(SystemExit, match="2"):
        decoding.main()
    assert f"{option} is 0; give a whole number from 1 up" in capsys.readouterr().err
