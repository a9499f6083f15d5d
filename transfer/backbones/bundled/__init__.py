"""Weights that come with the package: a ResNet50 trained on drawn pictures. CARD.md says how, and what they reach."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).with_name("resnet50.safetensors")
SHA256 = "74eabe78fe9fa54a682c46e9d746ea66ba7aa466afb8f785201f39e94405a16d"
