"""What torchvision's files say of it, read without importing it: that imports torch's compiler, and takes a second."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_NETWORK = re.compile(r"^@register_model\(\)$.*?^def (\w+)\(.*?\bweights: Optional\[(\w+)\]", re.M | re.S)
_WEIGHTS = re.compile(r"^class (\w+)\(WeightsEnum\):$(.*?)^    DEFAULT = ", re.M | re.S)
_URL = re.compile(r'^    IMAGENET1K_V1 = Weights\(.*?\burl="([^"]+)"', re.M | re.S)
_VERSION = re.compile(r"^__version__ = '([^']+)'$", re.M)


@cache
def version() -> str:
    """Return `torchvision.__version__`, which says what it was built for and its metadata do not."""
    found = _VERSION.search((_folder() / "version.py").read_text("utf-8"))
    if found:
        return found[1]
    import torchvision

    return str(torchvision.__version__)


def names() -> list[str]:
    """Return the names of torchvision's classification networks, as `torchvision.models.list_models` does."""
    return list(imagenet_urls())


@cache
def imagenet_urls() -> dict[str, str | None]:
    """Return where each network's `IMAGENET1K_V1` weights are, by its name; None where there are none."""
    text = "\n".join(path.read_text("utf-8") for path in (_folder() / "models").glob("*.py"))
    urls = {name: _URL.search(body) for name, body in _WEIGHTS.findall(text)}
    found = {name: urls.get(weights) for name, weights in _NETWORK.findall(text)}
    if found and len(found) == text.count("@register_model("):
        return {name: url and url[1] for name, url in sorted(found.items())}
    from torchvision import models  # a release some of whose files are written otherwise

    every = {name: models.get_model_weights(name) for name in models.list_models(module=models)}
    return {
        name: one.IMAGENET1K_V1.url if "IMAGENET1K_V1" in one.__members__ else None
        for name, one in every.items()
    }


def _folder() -> Path:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")
    return Path(spec.origin).parent
