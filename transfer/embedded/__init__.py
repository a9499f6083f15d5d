"""Weights that come with the package: a ResNet50 trained on drawn pictures. CARD.md says how, and what they reach."""

from __future__ import annotations

from pathlib import Path

BACKBONE = "resnet50"
FILE = Path(__file__).with_name("resnet50.safetensors")
SHA256 = "e5bdbe9134172d0826a02380315f5610375f6086e61df0661323a0acce375820"
