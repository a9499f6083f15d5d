"""Trials one after the other with ever new seeds: `python -m tests.trials --minutes 60`.

Stops at the first that fails, and prints the words that repeat it.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.trials.suite import TRIALS


def main(argv: Sequence[str] | None = None) -> int:
    """Run trials until the time is over, or one of them once; the exit status is returned."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="of the first trials")
    parser.add_argument("--trial", choices=TRIALS, help="this one, once")
    parser.add_argument("--cases", type=int, help="in place of those that a round of --trial has")
    args = parser.parse_args(argv)
    if args.cases is not None and not (args.trial and args.cases > 0):
        parser.error("--cases needs --trial, and is 1 at least")
    logging.getLogger("transfer").addHandler(logging.NullHandler())
    until, seed, met = time.monotonic() + 60 * args.minutes, args.seed, Counter[str]()
    print(f"seed {seed}", flush=True)
    while True:
        for name in [args.trial] if args.trial else TRIALS:
            start = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="trial-") as folder:
                try:
                    counted = TRIALS[name].run(seed, Path(folder), args.cases)
                except BaseException:
                    cases = f" --cases {args.cases}" if args.cases else ""
                    print(f"failed: python -m tests.trials --trial {name} --seed {seed}{cases}", flush=True)
                    raise
            seconds = time.monotonic() - start
            print(f"{name:12} seed {seed} {seconds:6.1f} s  {_formatted(counted)}", flush=True)
            met[name] += 1
            if args.trial or time.monotonic() > until:
                print(f"no fault; rounds of each: {_formatted(met)}")
                return 0
        seed += 1


def _formatted(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted.items())


if __name__ == "__main__":
    sys.exit(main())
