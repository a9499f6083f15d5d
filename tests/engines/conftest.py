from __future__ import annotations

import pytest
from torchvision import models

from tests.engines.networks import SHALLOW


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    real = models.get_model
    monkeypatch.setattr(
        models,
        "get_model",
        lambda name, **settings: SHALLOW[name]() if name in SHALLOW else real(name, **settings),
    )
