"""All that a new GPU can say in a few minutes, the most valuable first: `python -m bench.gpu --minutes 8 --out DIR`.

It needs this tree, PyTorch, torchvision, scikit-learn, safetensors, pytest-benchmark and rich; nothing is downloaded.
DIR gets a file for each part, whole at any moment, and `manifest.json`: what was run, what was left out and why. A part
that crashes, hangs or fills the memory costs itself alone. With `--device cpu` every part is done in small.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench.gpu import schedule, summary
from bench.reporting.status import exit_status
from transfer.system import hardware
from transfer.system.errors import UserError

DONE, FAILED = 0, 1


def main() -> int:
    """Run all parts; 1 if one of them failed or had to be stopped."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="all of it ends within so many (8)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="results go there: an empty or new folder")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="cpu: a rehearsal (cuda)")
    parser.add_argument(
        "--show", type=Path, metavar="DIR", help="print the results there, and measure nothing"
    )
    args = parser.parse_args()
    console = Console(highlight=False)
    if args.show:
        summary.show(args.show, console)
        return DONE
    if not args.out:
        raise UserError("no folder is named for the results; give --out DIR")
    if not 0 < args.minutes <= 24 * 60:
        raise UserError(f"--minutes is {args.minutes:g}; give a number above 0, such as 8")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise UserError(f"{args.out} is not an empty folder, and results are not mixed; give another --out")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no CUDA device here; --device cpu rehearses on the processor")

    hardware.sleep_at_barriers()  # in the parts' processes, as the command line does

    def tell(entry: dict[str, Any]) -> None:
        print(f"{entry['name']}: {entry['status']}, {entry['seconds']:.0f} s", file=sys.stderr, flush=True)

    manifest = schedule.run(args.out, device=args.device, minutes=args.minutes, on_end=tell)
    summary.show(args.out, console)
    ended = {part["status"] for part in manifest["parts"]}
    return FAILED if ended & {schedule.FAILED, schedule.STOPPED} else DONE


if __name__ == "__main__":
    sys.exit(exit_status(main))
