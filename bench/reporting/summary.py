"""Tables of a record: `python -m bench.reporting.summary FILE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.busy import is_busy
from bench.reporting import record, status, timings
from bench.reporting.record import Record
from bench.reporting.timings import (
    CPU,
    DEVICES,
    GPU,
    REFERENCE,
    amount,
    by_time,
    labelled,
    median_s,
    on,
    operations,
)
from transfer.report.rendering import Table, draw, say

# Seconds of the lab report's two ways, as `transfer.report.LAB` has them.
LAB_FINE_TUNING_S, LAB_SVM_S = 180, 15
FINE_TUNING, SVM = "fc", "svm"
# Features as close as this to those of fp32 are as good.
CLOSE = 0.999
# Of two shorter times a ratio says nothing: a call, a thread's start and the clock are a part of them.
SHORT_S = 0.01
# Of two shorter waits none is a reason to choose.
WAIT_S = 1


def show(shown: Record, filed: Sequence[Record], console: Console) -> None:
    """Print all tables of a record; if it has no GPU, one of the `filed` records may provide a column."""
    console.print()
    say(console, heading(shown))
    draw(accuracies(shown), console)
    draw(times(shown, lender(shown, filed)), console)
    draw(ratios(shown), console)
    for note in notes(shown):
        say(console, f"Note: {note}")
    say(console, shown.run["verdict"], style="bold")
    say(console, answer(shown), style="bold")


def heading(shown: Record) -> str:
    """Describe in a line what was measured where."""
    environment = shown.environment
    gpus = ", ".join(gpu["name"] for gpu in environment["gpus"]) or "no GPU"
    return (
        f"Profile {shown.profile} on {environment['processor']}, {environment['usable_cores']} cores, {gpus}; "
        f"{day(shown)}, commit {commit(environment)}, load before {load(environment)}"
    )


def accuracies(shown: Record) -> Table:
    """Tabulate accuracy and macro F1 on the test split by method, with intervals."""
    run = shown.run
    rows = [
        [
            method["name"],
            method["kind"],
            *(with_interval(method, score) for score in ("accuracy", "macro_f1")),
        ]
        for method in run["methods"]
    ]
    images = f"{run['data']['name']}: {sum(run['data']['test'])} test images"
    title = f"Accuracy on {images}, {network(run)}, 95 % intervals"
    return Table(title, ["method", "kind", " accuracy", " macro F1"], rows)


def network(run: dict[str, Any]) -> str:
    """Name the network of a run and its weights, `resnet50 (embedded weights, 74eabe78)`: the package's may change."""
    backbone = run["backbone"]
    return f"{backbone['name']} ({backbone['weights']} weights, {backbone['weights_sha256'][:8]})"


def times(shown: Record, lent: Record | None) -> Table:
    """Tabulate medians with minimum and maximum, and images a second, CPU next to GPU; the fastest way first."""
    title = "Time by operation, for so many images or rows: median (least-most)"
    if lent:
        title += f"; GPU: {lent.machine}, recorded {day(lent)}, not this machine"
    has_gpu = bool(lent or on(shown.benchmarks, GPU))
    gpu_columns = [" GPU, not here" if lent else " GPU", " images/s"] if has_gpu else [" no GPU here"]
    gpu = operations((lent or shown).benchmarks)
    rows = []
    for operation, benchmarks in operations(shown.benchmarks).items():
        on_cpu, on_gpu = on(benchmarks, CPU), on(gpu.get(operation, []), GPU)
        rows.append([operation, amount(on_cpu), "", *([amount(on_gpu), ""] if has_gpu else [""])])
        here, there = labelled(on_cpu), labelled(on_gpu)
        for label in by_time(here, there):
            beside = timings.time_and_rate(there.get(label)) if has_gpu else ["-"]
            rows.append([f"  {label}", *timings.time_and_rate(here.get(label)), *beside])
    return Table(title, ["operation and way", " CPU", " images/s", *gpu_columns], rows)


def ratios(shown: Record) -> Table:
    """Tabulate how many times as fast as each reference on the same device each of our ways is, the fastest first."""
    found = []
    for operation, benchmarks in operations(shown.benchmarks).items():
        for device, name in DEVICES.items():
            ways = labelled(on(benchmarks, device))
            ours = [label for label in by_time(ways) if not ways[label]["reference"]]
            references = [label for label in by_time(ways) if ways[label]["reference"]]
            if ours and references:
                found.append([f"{operation}, {name}", *(ref.removeprefix(REFERENCE) for ref in references)])
            for label in ours if references else []:
                cells = [times_as_fast(median_s(ways[label]), median_s(ways[ref])) for ref in references]
                found.append([f"  {label}", *cells])
    width = max(map(len, found), default=1)
    rows = [[*row, *[""] * (width - len(row))] for row in found]
    title = "Ours against each reference: times as fast, our best way first; below 1x is slower"
    return Table(title, ["operation and way", *[" "] * (width - 1)], rows)


def times_as_fast(ours_s: float, reference_s: float) -> str:
    """Format how many times as fast ours is; no ratio if both times are too short for one."""
    return "both short" if max(ours_s, reference_s) < SHORT_S else timings.ratio(reference_s / ours_s)


def notes(shown: Record) -> list[str]:
    """Return notes that a reader needs to read the tables correctly."""
    found = []
    if busy := busy_operations(shown):
        found.append(f"busy, times may be too long: other processes used cores during {', '.join(busy)}")
    if shown.schema_version < 2:
        found.append("old protocol: ways were timed one after the other, not in turn")
    if any("scaled_by" in benchmark for benchmark in shown.benchmarks):
        found.append("scaled: too long to be done whole; a part was timed")
    far = {
        f"{label} on {name}": benchmark["cosine"]
        for benchmarks in operations(shown.benchmarks).values()
        for device, name in DEVICES.items()
        for label, benchmark in labelled(on(benchmarks, device)).items()
        if benchmark.get("cosine", 1) < CLOSE
    }
    if far:
        listed = ", ".join(f"{label} {cosine:.3f}" for label, cosine in far.items())
        found.append(f"features that are not quite those of fp32 (cosine, at least): {listed}")
    if shown.run["backbone"]["weights"] == "random":
        found.append(
            "the network is untrained: its accuracies compare methods, and say nothing of a trained one's"
        )
    if shown.run["backbone"]["weights"] == "embedded":
        found.append(
            "the network was trained on drawn pictures alone, and reaches less than one of ImageNet's"
        )
    return found


def busy_operations(shown: Record) -> list[str]:
    """List the operations during which other processes used too many of the cores, and how many."""
    found = {
        (b["operation"], b["device"]): b["other_cores"]
        for b in shown.benchmarks
        if is_busy(b.get("other_cores"), shown.environment["usable_cores"])
    }
    return [f"{operation} on {DEVICES[device]} ({cores:.1f})" for (operation, device), cores in found.items()]


def answer(shown: Record) -> str:
    """Say how many times as long as the SVM fine-tuning took, next to what the lab report found."""
    methods = {method["name"]: method for method in shown.run["methods"]}
    lab = (
        f"in the lab report {LAB_FINE_TUNING_S / LAB_SVM_S:g} times "
        f"(about {LAB_FINE_TUNING_S / 60:g} min against {LAB_SVM_S} s), on other data"
    )
    if not {FINE_TUNING, SVM} <= methods.keys():
        return f"The run has not both {FINE_TUNING} and {SVM}, so nothing says which took longer; {lab}."
    (rates, fine_tuning_s), (settings, svm_s) = (
        (methods[name]["settings"], methods[name]["fit_s"]) for name in (FINE_TUNING, SVM)
    )
    if max(fine_tuning_s, svm_s) < WAIT_S:
        sentence = (
            f"On features that are there, fine-tuning ({FINE_TUNING}, {rates} settings) and the SVM ({SVM}, {settings} "
            f"settings) took less than a second each, {against(fine_tuning_s, svm_s)}: time is no reason to choose; "
        )
    else:
        sentence = (
            f"Fine-tuning ({FINE_TUNING}, {rates} settings) took {times_as_long(fine_tuning_s, svm_s)} as long as the "
            f"SVM ({SVM}, {settings} settings), {against(fine_tuning_s, svm_s)}, on features that are there; "
        )
    cold_s = shown.run["cold_s"]
    if cold_s is None:
        return f"{sentence}what these features took is not known of this machine alone; {lab}."
    cold = cold_s + fine_tuning_s, cold_s + svm_s
    return f"{sentence}from a cold start, with extraction, {times_as_long(*cold)}, {against(*cold)}; {lab}."


def lender(shown: Record, filed: Sequence[Record]) -> Record | None:
    """Return the newest of the filed records with one of the same operations on a GPU, if `shown` has no GPU."""
    if on(shown.benchmarks, GPU):
        return None
    wanted = operations(shown.benchmarks).keys()
    able = (other for other in reversed(filed) if wanted & operations(on(other.benchmarks, GPU)).keys())
    return next(able, None)


def times_as_long(fine_tuning_s: float, svm_s: float) -> str:
    """Format the ratio of one time to another."""
    return f"{timings.ratio(fine_tuning_s / svm_s).removesuffix('x')} times"


def against(fine_tuning_s: float, svm_s: float) -> str:
    """Format both times."""
    return f"{timings.duration(fine_tuning_s)} against {timings.duration(svm_s)}"


def day(shown: Record) -> str:
    """Return the day of a record."""
    return shown.created[:10]


def commit(environment: dict[str, Any]) -> str:
    """Return the abbreviated commit, and whether the tree differed from it."""
    revision = (environment.get("commit") or "unknown")[:7]
    return f"{revision} with changes" if environment.get("dirty") else revision


def load(environment: dict[str, Any]) -> str:
    """Format the load of the minute before it began, marked if others used more than half of the cores."""
    if not environment.get("load_before"):
        return "not taken"
    before: float = environment["load_before"][0]
    return f"{before:.1f}, busy" if before > environment["usable_cores"] / 2 else f"{before:.1f}"


def with_interval(method: dict[str, Any], score: str) -> str:
    """Format a score with its interval."""
    low, high = method[f"{score}_ci95"]
    return f"{method[score]:.3f} ({low:.2f}-{high:.2f})"


def main() -> int:
    """Print the tables of a record."""
    parser = argparse.ArgumentParser(prog="python -m bench.reporting.summary", description=__doc__)
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="a record, as bench.reporting.record makes it"
    )
    args = parser.parse_args()
    show(record.load(args.file), record.filed(record.RESULTS), Console())
    return 0


if __name__ == "__main__":
    sys.exit(status.exit_status(main))
