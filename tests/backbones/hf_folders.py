"""Small networks of transformers, made on the spot, and folders as `save_pretrained` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

TOKENS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
}
# Networks with few blocks, as their configurations name them.
KINDS: dict[str, dict[str, Any]] = {
    "resnet": {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]},
    "convnext": {"hidden_sizes": [8, 16, 16, 24], "depths": [1, 1, 1, 1]},
    "vit": TOKENS,
    "dinov2": {key: value for key, value in TOKENS.items() if key != "intermediate_size"},
    "swin": {"image_size": 64, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
}
PROCESSOR = {
    "do_normalize": True,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.3, 0.4],
    "resample": 3,
    "size": {"height": 64, "width": 64},
}


def whole(kind: str, **settings: Any) -> Any:
    import transformers  # an extra

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **KINDS[kind], **settings)
    return transformers.AutoModelForImageClassification.from_config(config).eval()


def save(network: Any, folder: Path, processor: dict[str, Any] | None = PROCESSOR) -> Path:
    """A folder as `save_pretrained` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(network.config.to_json_string())
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors"
    )
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder
