"""Sentences on a record: where it was made, what its figures mean, why the lab's ratio was another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.busy import is_busy
from bench.reporting import timings
from bench.reporting.comparison import CLOSE
from bench.reporting.layout import WIDTH, listed
from bench.reporting.record import Record
from bench.reporting.tables import commit, day, load
from bench.reporting.timings import DEVICES, GPU, Benchmark, labelled, median_s, on, operations
from transfer.heads.registry import FINE_TUNING as FINE_TUNING_KIND
from transfer.heads.registry import SVM_KIND
from transfer.report.lab import LAB_FIGURES, format_lab_seconds

# How many times as long as the SVM fine-tuning took in the lab report.
LAB_RATIO = LAB_FIGURES[FINE_TUNING_KIND]["seconds"] / LAB_FIGURES[SVM_KIND]["seconds"]
FINE_TUNING, SVM = "fc", "svm"
# Of two shorter waits none is a reason to choose.
WAIT_S = 1
# References that run the network in every epoch, of this version and of earlier ones.
RECOMPUTED = ("network in every epoch", "uncached")


class Note(NamedTuple):
    """What a reader needs to know of the figures, and what it is about."""

    text: str
    details: Sequence[str] = ()

    def whole(self) -> str:
        """Return the note with all details."""
        return f"{self.text}: {', '.join(self.details)}" if self.details else self.text

    def line(self) -> str:
        """Return the note in a line of a terminal, with as many details as fit."""
        start = f"Note: {self.text}"
        return f"{start}: {listed(self.details, WIDTH - len(start) - 2)}" if self.details else start


def heading(shown: Record) -> str:
    """Describe in a line what was measured where."""
    environment = shown.environment
    gpus = ", ".join(gpu["name"] for gpu in environment["gpus"]) or "no GPU"
    return (
        f"Profile {shown.profile} on {environment['processor']}, {environment['usable_cores']} cores, {gpus}; "
        f"{day(shown)}, commit {commit(environment)}, load before {load(environment)}"
    )


def busy_or_quiet(shown: Record) -> str:
    """Say whether other processes used the machine, before it began or meanwhile."""
    environment = shown.environment
    before = load(environment)
    if before.endswith("busy") or busy_operations(shown):
        return f"busy (load before {before.removesuffix(', busy')})"
    return "load not taken" if before == "not taken" else f"quiet (load before {before})"


def notes(shown: Record) -> list[Note]:
    """Return notes that a reader needs to read the figures correctly."""
    found = []
    if shown.profile == "quick":
        found.append(Note("profile quick shows that benchmarks run, its times mean nothing"))
    if busy := busy_operations(shown):
        found.append(Note("busy, others used cores, times may be too long", busy))
    if not shown.in_turn:
        found.append(Note("old protocol: ways were timed one after the other, not in turn"))
    if any("scaled_by" in benchmark for benchmark in shown.benchmarks):
        found.append(Note("scaled: too long to be done whole; a part was timed"))
    far = [
        f"{label} on {name} {benchmark['cosine']:.3f}"
        for benchmarks in operations(shown.benchmarks).values()
        for device, name in DEVICES.items()
        for label, benchmark in labelled(on(benchmarks, device)).items()
        if benchmark.get("cosine", 1) < CLOSE
    ]
    if far:
        found.append(Note("features not quite those of fp32 (cosine)", list(dict.fromkeys(far))))
    weights = {
        "random": "the network is untrained: compare methods, the scores say nothing else",
        "embedded": "the network was trained on drawn pictures alone: scores are low",
    }
    if (source := shown.run["backbone"]["weights"]) in weights:
        found.append(Note(weights[source]))
    return found


def busy_operations(shown: Record) -> list[str]:
    """List the operations during which other processes used too many of the cores, and how many."""
    found = {
        (b["operation"], b["device"]): b["other_cores"]
        for b in shown.benchmarks
        if is_busy(b.get("other_cores"), shown.environment["usable_cores"])
    }
    return [f"{operation} on {DEVICES[device]} ({cores:.1f})" for (operation, device), cores in found.items()]


def reason(shown: Record) -> str:
    """Say why fine-tuning took so much longer than the SVM in the lab, and what that would take here."""
    lab = f"Fine-tuning took {LAB_RATIO:g} times as long as the SVM in the lab"
    found = _searches(shown)
    here = f", here {times_as_long(found[0]['fit_s'], found[1]['fit_s'])}" if found else ""
    return f"{lab}{here}: features are kept, an epoch is no forward pass{_recomputed(shown)}."


def _recomputed(shown: Record) -> str:
    """Say what fine-tuning takes with a forward pass in each epoch; empty if that was not timed."""
    found = [b for b in shown.benchmarks if b["reference"] and b["way"] in RECOMPUTED]
    if not found:
        return ""
    slow: Benchmark = min(found, key=lambda way: way["device"] == GPU)
    # Earlier versions timed it beside searches on features that were there.
    ours = [
        median_s(b)
        for b in on(shown.benchmarks, slow["device"])
        if b["operation"] == slow["operation"] and not b["reference"] and slow["way"] == RECOMPUTED[0]
    ]
    fast = f", not {timings.duration(min(ours))}" if ours else ""
    return f" (else {timings.duration(median_s(slow))}{fast})"


def answer(shown: Record) -> str:
    """Say how many times as long as the SVM fine-tuning took, next to what the lab report found."""
    lab = (
        f"in the lab report {LAB_RATIO:g} times ({format_lab_seconds(FINE_TUNING_KIND)} against "
        f"{format_lab_seconds(SVM_KIND)}), on other data"
    )
    found = _searches(shown)
    if not found:
        return f"The run has not both {FINE_TUNING} and {SVM}, so nothing says which took longer; {lab}."
    (rates, fine_tuning_s), (settings, svm_s) = ((method["settings"], method["fit_s"]) for method in found)
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


def _searches(shown: Record) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return fine-tuning and the SVM of the run, or None without both."""
    methods = {method["name"]: method for method in shown.run["methods"]}
    return (methods[FINE_TUNING], methods[SVM]) if {FINE_TUNING, SVM} <= methods.keys() else None


def times_as_long(fine_tuning_s: float, svm_s: float) -> str:
    """Format the ratio of one time to another."""
    return f"{timings.ratio(fine_tuning_s / svm_s).removesuffix('x')} times"


def against(fine_tuning_s: float, svm_s: float) -> str:
    """Format both times."""
    return f"{timings.duration(fine_tuning_s)} against {timings.duration(svm_s)}"
