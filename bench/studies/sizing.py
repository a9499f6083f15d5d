"""What many images come to, by arithmetic from assumptions that are options: `python -m bench.studies.sizing`.

Bytes of files and features, hours of workers and of reading, files of the cache, memory of the driver.
"""

from __future__ import annotations

import argparse
import sys

from bench.reporting.status import exit_status
from transfer.cache.feature_table import SHARD_ROWS

# Of an image in the driver: its id, in the index of the table its id and place, and the columns of its sample.
ID_BYTES, INDEX_BYTES, COLUMN_BYTES = 32, 40, 23


def main() -> None:
    """Print a line for each quantity, a column for each number of images."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.sizing", description=__doc__)
    parser.add_argument("images", type=int, nargs="*", default=[1_000_000, 1_000_000_000])
    parser.add_argument("--features", type=int, default=2048, help="of an image (2048)")
    parser.add_argument("--file-bytes", type=int, default=50_000, help="of an image file (50,000)")
    parser.add_argument("--name-bytes", type=int, default=40, help="of its path (40)")
    parser.add_argument("--rate", type=float, default=1000, help="images a second of a worker (1,000)")
    parser.add_argument("--read", type=float, default=1e9, help="bytes a second that the driver reads (1e9)")
    args = parser.parse_args()
    columns = [quantities(count, args) for count in args.images]
    print(f"{'':34}" + "".join(f"{count:>16,}" for count in args.images))
    for name in columns[0]:
        print(f"{name:34}" + "".join(f"{column[name]:>16,.1f}" for column in columns))


def quantities(images: int, args: argparse.Namespace) -> dict[str, float]:
    """Return what so many images come to."""
    in_driver = ID_BYTES + INDEX_BYTES + COLUMN_BYTES + args.name_bytes
    return {
        "GB of image files": images * args.file_bytes / 1e9,
        "hours to hash them, one driver": images * args.file_bytes / args.read / 3600,
        "worker hours": images / args.rate / 3600,
        "GB of features": images * args.features * 4 / 1e9,
        "files of the cache": -(-images // SHARD_ROWS),
        "GB of memory of the driver": images * in_driver / 1e9,
    }


if __name__ == "__main__":
    sys.exit(exit_status(main))
