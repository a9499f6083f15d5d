"""Features that the user brings: no images, no network and no store.

N: rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils import gen_batches

from transfer.config import RunConfig
from transfer.data.copies import copy_codes
from transfer.data.dataset import ImageSet
from transfer.data.feature_files import read_features
from transfer.data.label_tables import build
from transfer.data.loader import IndexedImages
from transfer.features.image_sets import check_repeats
from transfer.system import files
from transfer.system.content_ids import Ids
from transfer.system.errors import UserError
from transfer.system.hardware import usable_cores
from transfer.system.remote import path_of
from transfer.system.row_storage import ROWS, RowStorage, without_subnormals

# Settings that say how features are made of images.
_OF_IMAGES = (
    "backbone", "weights", "mean", "std", "channel_order", "size", "resize", "layers", "unfreeze",
    "adapt", "bn", "engine", "precision", "decoder", "on", "workers", "on_bad_image",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class GivenFeatures:
    """Where features come from that the user brought: what `Extraction` is for those that were computed."""

    path: Path
    sha256: str
    """Of the file."""
    images: IndexedImages
    """Its rows; an id is the sha256 of a row's features."""
    classes: tuple[str, ...]
    threads: int


def read_given(config: RunConfig) -> tuple[ImageSet, npt.NDArray[np.float32], GivenFeatures]:
    """Read features and labels, and draw the splits that are missing.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    image_set : ImageSet
        Its files are the names of rows, or their numbers.
    x_ND : ndarray of shape (N, D), float32
        Split after split.
    given : GivenFeatures

    Raises
    ------
    UserError
        If the file can't be used, or settings were given that are about images.
    """
    path = path_of(config.data)
    for field in fields(config):
        if field.name in _OF_IMAGES and getattr(config, field.name) != field.default:
            raise UserError(f"`{field.name}` is about images, and {path} holds features; leave it out")
    threads = usable_cores()
    torch.set_num_threads(threads)
    make_rows = RowStorage(config.store, on_disk=config.from_disk)
    found = read_features(path, config.columns, config.groups, make_rows)
    x_ND, ids_N32 = found.x_ND, hash_rows(found.x_ND)
    image_set, split_N = build(
        found.rows,
        np.arange(len(x_ND)),
        found.pattern,
        config.seed,
        classes=found.classes,
        copies_N=copy_codes(ids_N32),
    )
    check_repeats(image_set, config)
    order_N = np.argsort(split_N, kind="stable")
    images = IndexedImages(
        image_set.samples(), split_N[order_N], ids_N32[order_N], np.zeros((len(x_ND), 2), np.int32)
    )
    given = GivenFeatures(path, files.file_sha256(path), images, image_set.classes, threads)
    return image_set, without_subnormals(_reorder(x_ND, order_N, make_rows), in_place=True), given


def _reorder(
    x_ND: npt.NDArray[np.float32], order_N: npt.NDArray[np.intp], make_rows: RowStorage
) -> npt.NDArray[np.float32]:
    """Return rows in another order, in a new array."""
    if (order_N[1:] > order_N[:-1]).all():
        return x_ND
    ordered_ND = make_rows((len(x_ND), x_ND.shape[1]))
    for part in gen_batches(len(x_ND), ROWS):
        ordered_ND[part] = x_ND[order_N[part]]
    return ordered_ND


def hash_rows(x_ND: npt.NDArray[np.float32]) -> Ids:
    """Return the sha256 (N, 32) of each row's bytes."""
    digests = b"".join(hashlib.sha256(x_D.data).digest() for x_D in x_ND)
    return np.frombuffer(digests, np.uint8).reshape(len(x_ND), 32)
