"""Summary of the images of a run: counts, groups, copies across splits, and a fingerprint.

N: images.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from typing import Any

import numpy as np

from transfer.data import near_duplicates
from transfer.data.copies import count_copies
from transfer.data.dataset import ImageSet
from transfer.data.groups import suggest_groups
from transfer.data.loader import IndexedImages
from transfer.data.random_splits import SPLITS
from transfer.data.sizes import common_size
from transfer.data.splits import groups_across_splits
from transfer.features.extract import Features
from transfer.system.row_storage import is_mapped

OTHERS_NAMED = 20
# Bad images that a result names: a million of them would make a file larger than any that is read again.
SKIPPED_NAMED = 5_000

log = logging.getLogger(__name__)


def describe(image_set: ImageSet, features: Features) -> dict[str, Any]:
    """Describe the images of a run.

    Parameters
    ----------
    image_set : ImageSet
        As it was found.
    features : Features
        Of the images that could be read.

    Returns
    -------
    dict
        `data` of the result.
    """
    images, skipped = features.images, features.skipped
    copies = count_copies(images.ids_N32, images.label_N, images.split_N)
    n_classes = len(image_set.classes)
    own_size = None if features.given else common_size(images.size_N2)
    return {
        "name": image_set.name,
        "classes": list(image_set.classes),
        "empty_classes": list(image_set.empty_classes),
        "fingerprint": fingerprint(images, image_set.classes),
        "splits": {
            split: {"images": len(part.y_N), "per_class": np.bincount(part.y_N, minlength=n_classes).tolist()}
            for split, part in features.splits.items()
        },
        "image_size": own_size and list(own_size),
        "drawn": list(image_set.drawn),
        "groups": _describe_groups(images),
        "copies": copies.across,
        "copies_of_another_class": copies.of_another_class,
        "copies_within": copies.within,
        "in_two_classes": {
            "images": copies.in_two_classes,
            "classes": [image_set.classes[label] for label in copies.classes],
        },
        "near_duplicates": _describe_near_duplicates(features),
        "others": {"count": len(image_set.others), "first": list(image_set.others[:OTHERS_NAMED])},
        "test_in_train": copies.across["train-test"],
        "skipped": [
            {"name": name, "reason": reason}
            for name, reason in itertools.islice(skipped.items(), SKIPPED_NAMED)
        ],
        "skipped_count": len(skipped),
    }


def fingerprint(images: IndexedImages, classes: tuple[str, ...]) -> str:
    """Return a hash of names, contents, labels and splits of the images.

    Parameters
    ----------
    images : IndexedImages
    classes : tuple of str

    Returns
    -------
    str
        sha256 of a line `[file, class, split, sha256 of the file]` for each image, sorted.
    """
    names, split_N, label_N = images.samples.names, images.split_N, images.label_N
    lines = sorted(
        json.dumps([names[i], classes[label_N[i]], SPLITS[split_N[i]], images.ids_N32[i].tobytes().hex()])
        for i in range(len(images))
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _describe_groups(images: IndexedImages) -> dict[str, Any]:
    """Describe the groups asked for, or those that the names suggest."""
    if images.group_N is not None:
        return {
            "count": len(np.unique(images.group_N)),
            "across_splits": [
                overlap._asdict() for overlap in groups_across_splits(images.group_N, images.split_N)
            ],
            "suggestion": None,
        }
    suggestion = suggest_groups(images.samples.names, images.label_N)
    return {
        "count": 0,
        "across_splits": [],
        "suggestion": suggestion and {"pattern": suggestion.pattern, "count": suggestion.groups},
    }


def _describe_near_duplicates(features: Features) -> list[dict[str, Any]]:
    images = features.images
    if is_mapped(features.x_ND):
        log.warning("near-duplicates are not looked for: that is done in memory, and features are on disk")
        return []
    names = images.samples.names
    return [
        {
            "first": one.first,
            "second": one.second,
            "compared": one.compared,
            "found": one.found,
            "pairs": [[names[pair.first], names[pair.second]] for pair in one.pairs],
        }
        for one in near_duplicates.find_near_duplicates(features.x_ND, images.label_N, images.split_N)
    ]
