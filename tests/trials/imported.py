"""Imported once, by the process that all processes of trials are forked from."""

# ruff: noqa: F401
import PIL.BmpImagePlugin
import PIL.JpegImagePlugin
import PIL.PngImagePlugin
import PIL.WebPImagePlugin
import pyarrow.parquet
import pytest
import safetensors.torch
import torchvision

import tests.trials.hostile
import transfer.cache.pruning
import transfer.cli
import transfer.evaluation.experiment
from transfer.backbones import torchvision_files

# Another user, whose rights some processes take, may not read the environment's files.
torchvision_files.version()
torchvision_files.imagenet_urls()
