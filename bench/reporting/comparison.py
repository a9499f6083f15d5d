"""Our best way of each operation against the fastest reference, on each device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.reporting import timings
from bench.reporting.record import Record
from bench.reporting.timings import CPU, GPU, Benchmark, median_s, on, operations

# Features as close as this to those of fp32 are as good.
CLOSE = 0.999
# Of two shorter times a ratio says nothing: a call, a thread's start and the clock are a part of them.
SHORT_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The ways of one operation on one device.

    Parameters
    ----------
    ours : dict, optional
        Our fastest way whose features are those of fp32; of any if there is none.
    reference : dict, optional
        The fastest reference.
    methods : sequence of dict
        All ways, the fastest first, where each is a method that does work of its own; else empty.
    in_turn : bool
        Whether they were timed in turn.
    """

    ours: Benchmark | None
    reference: Benchmark | None
    methods: Sequence[Benchmark] = ()
    in_turn: bool = True

    @property
    def images(self) -> int | None:
        """The images that a call goes through."""
        shown = self.ours or self.reference or {}
        return shown.get("images")

    @property
    def work(self) -> tuple[object, ...]:
        """What has to agree, beside the number of images, for two devices to have done the same."""
        shown = self.ours or self.reference or {}
        return tuple(map(str, (shown.get("shape"), shown.get("network"))))

    @property
    def ratio(self) -> float | None:
        """How many times as fast ours is as the reference; None without both, or if both are too short."""
        if not (self.ours and self.reference):
            return None
        if max(median_s(self.ours), median_s(self.reference)) < SHORT_S:
            return None
        return timings.times_as_fast(self.ours, self.reference, in_turn=self.in_turn)


def compare(benchmarks: Iterable[Benchmark], *, in_turn: bool = True) -> Compared:
    """Compare the ways of one operation on one device."""
    ways = sorted(benchmarks, key=median_s)
    ours = [way for way in ways if not way["reference"]]
    references = [way for way in ways if way["reference"]]
    if not references and len({way["method"] for way in ours if "method" in way}) > 1:
        return Compared(ours=ours[0], reference=None, methods=ours)
    close = [way for way in ours if way.get("cosine", 1) >= CLOSE]
    fastest, reference = next(iter(close or ours), None), next(iter(references), None)
    return Compared(ours=fastest, reference=reference, in_turn=in_turn)


def by_device(shown: Record, gpu_record: Record | None) -> dict[str, tuple[Compared, Compared]]:
    """Compare all operations of a record on the processor and on the GPU.

    Parameters
    ----------
    shown : Record
    gpu_record : Record, optional
        The record whose GPU is shown, as `find_gpu_record` returns it.

    Returns
    -------
    dict
        Processor and GPU by operation. What the other record's GPU did with other rows or another network is left out.
    """
    other = gpu_record or shown
    gpu = operations(other.benchmarks)
    found = {}
    for operation, benchmarks in operations(shown.benchmarks).items():
        here = compare(on(benchmarks, CPU), in_turn=shown.in_turn)
        there = compare(on(gpu.get(operation, []), GPU), in_turn=other.in_turn)
        if gpu_record and here.work != there.work:
            there = compare([])
        found[operation] = here, there
    return found


def find_gpu_record(shown: Record, filed: Sequence[Record]) -> Record | None:
    """Return the newest of the filed records with one of the same operations on a GPU, if `shown` has no GPU."""
    if on(shown.benchmarks, GPU):
        return None
    wanted = operations(shown.benchmarks).keys()
    able = (other for other in reversed(filed) if wanted & operations(on(other.benchmarks, GPU)).keys())
    return next(able, None)


def figure(benchmark: Benchmark | None, *, as_rate: bool) -> str:
    """Format a median, or images a second."""
    if benchmark is None:
        return "-"
    if as_rate:
        return f"{timings.rate(benchmark)}/s"
    return timings.duration(median_s(benchmark))


def format_ratio(compared: Compared) -> str:
    """Format how many times as fast ours is; `short` for times too short for a ratio, `-` without a reference."""
    if not (compared.ours and compared.reference):
        return "-"
    return "short" if compared.ratio is None else timings.ratio(compared.ratio)
