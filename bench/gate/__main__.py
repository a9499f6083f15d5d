"""Runtime gate, `python -m bench.gate BASE [HEAD]`: test whether HEAD is slower than BASE.

Exit status: 0 no benchmark is slower; 1 one is, or is missing or fails; 2 wrong usage; 4 inconclusive, since a control
moved or nothing could be compared; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from bench.gate import report, worktrees
from bench.gate.compare import Outcome, compare
from bench.reporting.status import exit_status
from transfer.report import rendering
from transfer.system.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Compare two revisions, print the outcome, and return the exit status."""
    args = _parser().parse_args(argv)
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"--json is {args.json}; there is no folder {args.json.parent}")
    outcome = gate(args)
    if args.json:
        args.json.write_text(json.dumps({**asdict(outcome), "status": outcome.status}, indent=1) + "\n")
    report.show(outcome, Console())
    return outcome.status


def gate(args: argparse.Namespace) -> Outcome:
    """Compare the revisions that the command line names. Raises `UserError`."""
    if not 0 < args.tolerance < 1:
        raise UserError(f"--tolerance is {args.tolerance}; give a share between 0 and 1, such as 0.1")
    base = worktrees.commit(args.base)
    head = worktrees.commit(args.head) if args.head else worktrees.as_it_is()
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        work = Path(folder)
        with (
            worktrees.tree(base, work / "base") as base_tree,
            worktrees.tree(head, work / "head") as head_tree,
            rendering.progress(False) as progress,
        ):
            return compare(
                base_tree,
                head_tree,
                work,
                tolerance=args.tolerance,
                blocks=args.blocks,
                seed=args.seed,
                only=args.only.split(",") if args.only else (),
                progress=progress,
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("base", metavar="BASE", help="the older revision, such as main or HEAD~1")
    parser.add_argument(
        "head", metavar="HEAD", nargs="?", help="the newer one (tracked files as they are now)"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.1, metavar="SHARE", help="what may be slower (0.1)"
    )
    parser.add_argument("--blocks", type=int, default=12, metavar="N", help="processes of each revision (12)")
    parser.add_argument("--only", metavar="A,B", help="these benchmarks, and the controls")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the order in blocks (0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there")
    return parser


if __name__ == "__main__":
    sys.exit(exit_status(main))
