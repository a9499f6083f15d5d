from __future__ import annotations

from collections.abc import Iterator

import pytest
from torchvision import models

from tests.engines.networks import SHALLOW


@pytest.fixture(autouse=True, scope="module")
def shallow() -> Iterator[None]:
    real = models.get_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            models,
            "get_model",
            lambda name, **settings: SHALLOW[name]() if name in SHALLOW else real(name, **settings),
        )
        yield
