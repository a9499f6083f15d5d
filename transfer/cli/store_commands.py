"""What each command of `transfer store` does: list, verify, prune."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from transfer.cli.exit_status import DONE, FAILED
from transfer.cli.parsing import parse_age, parse_bytes
from transfer.system.text import in_bytes, join_cells, printable
from transfer.system.user_folders import default_store

if TYPE_CHECKING:
    from transfer.cache.inventory import Entry
    from transfer.report.rendering import Table


def list_entries(args: argparse.Namespace) -> int:
    """List what a store holds."""
    from transfer.cache import inventory
    from transfer.report import rendering

    root = args.store or default_store()
    entries, leftovers = inventory.list_entries(root), inventory.list_leftovers(root)
    if args.json:
        records = [
            {
                "kind": entry.kind,
                "key": entry.key,
                "depends_on": entry.words,
                "images": entry.images,
                "bytes": entry.bytes,
                "used": entry.used,
            }
            for entry in entries
        ]
        print(json.dumps(records, indent=1))
        return DONE
    if entries:
        rendering.draw(_entries("What the store holds, used last first", entries), rendering.console())
    whole = sum(entry.bytes for entry in entries)
    print(printable(f"{_count(len(entries), 'entries')}, {in_bytes(whole)}, in {root}"))
    if leftovers:
        left = in_bytes(sum(leftover.bytes for leftover in leftovers))
        print(f"{_count(len(leftovers), 'leftovers')}, {left}: transfer store prune shows them")
    return DONE


def verify_entries(args: argparse.Namespace) -> int:
    """Check every checksum of a store."""
    from transfer.cache import inventory
    from transfer.report import rendering

    entries, found = inventory.list_entries(args.store or default_store()), 0
    with rendering.progress(args.quiet) as on_progress:
        for done, entry in enumerate(entries):
            on_progress("check", done, len(entries), entry.kind)
            for fault in inventory.find_faults(entry):
                found += 1
                print(printable(fault))
        on_progress("check", len(entries), len(entries))
    if not found:
        print(
            f"{_count(len(entries), 'entries')}, all as they were written (the built-in images have no checksums)"
        )
        return DONE
    print(f"{_count(found, 'faults')}; the next run that needs what is damaged makes it again")
    return FAILED


def prune_entries(args: argparse.Namespace) -> int:
    """Delete entries of a store, or show which would be."""
    from transfer.cache import inventory, pruning
    from transfer.report import rendering

    rule = pruning.Rule(
        older_than_s=parse_age(args.older_than) if args.older_than else None,
        max_bytes=parse_bytes("--max-size", args.max_size) if args.max_size else None,
        keys=tuple(args.key or ()),
    )
    root = args.store or default_store()
    going = pruning.choose_entries(inventory.list_entries(root), rule)
    leftovers = inventory.list_leftovers(root)
    if going:
        rendering.draw(_entries("What is to go", going), rendering.console())
    for leftover in leftovers:
        print(join_cells(in_bytes(leftover.bytes), leftover.reason, str(leftover.path)))
    if args.yes:
        kept = [entry for entry in going if not pruning.delete(entry)]
        left = pruning.delete_leftovers(leftovers)
        leftovers = [leftover for leftover in leftovers if leftover not in left]
        for leftover in left:
            print(f"{printable(str(leftover.path))} is in use, and kept")
    else:
        kept = [entry for entry in going if pruning.is_in_use(entry)]
    for entry in kept:
        print(f"{entry.kind} {printable(entry.key[:8])} is in use, and kept")
    freed = sum(leftover.bytes for leftover in leftovers) + sum(e.bytes for e in going if e not in kept)
    total = f"{_count(len(going) - len(kept), 'entries')} and {_count(len(leftovers), 'leftovers')}, {in_bytes(freed)}"
    print(f"{total}, deleted" if args.yes else f"{total}, would go; --yes deletes them")
    return DONE


def _count(number: int, many: str) -> str:
    one = {"entries": "entry", "leftovers": "leftover", "faults": "fault"}[many]
    return f"{number} {one if number == 1 else many}"


def _entries(title: str, entries: Sequence[Entry]) -> Table:
    from transfer.report.rendering import Table

    return Table(
        title,
        ["key", "kind", "depends on", " images", " size", " used"],
        [
            [
                entry.key[:8],
                entry.kind,
                entry.words or "(not known: what says it is damaged or gone)",
                "-" if entry.images is None else f"{entry.images:,}",
                in_bytes(entry.bytes),
                _ago(time.time() - entry.used),
            ]
            for entry in entries
        ],
    )


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now"
