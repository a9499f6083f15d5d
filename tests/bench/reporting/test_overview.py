from __future__ import annotations

from bench.reporting import overview
from tests.bench.samples import benchmark, made_up


def cells(line: str) -> list[str]:
    return line.split()


def test_a_line_has_ours_the_named_reference_and_the_ratio_of_both() -> None:
    made = made_up(
        benchmark(way="ours", seconds=(0.5,)), benchmark(way="GridSearchCV", seconds=(2.0,), reference=True)
    )
    _, head, line = overview.lines(made, None)
    assert cells(head) == ["operation", "CPU", "reference", "ratio"]
    assert cells(line) == ["fit,", "SVM", "500", "ms", "2.00", "s", "GridSearchCV", "4.0x"]


def test_a_gpu_stands_beside_with_images_a_second_where_it_had_more_of_them() -> None:
    made = made_up(
        benchmark("extract", seconds=(1.0,), images=16),
        benchmark("extract", "loop", seconds=(2.0,), images=16, reference=True),
        benchmark("extract", device="cuda", seconds=(0.5,), images=256),
        benchmark("extract", "other loop", device="cuda", seconds=(1.0,), images=256, reference=True),
        benchmark("fit", seconds=(3.0,)),
    )
    _, head, extract, fit, rates, references = overview.lines(made, None)
    assert rates == overview.RATES
    assert cells(head) == ["operation", "CPU", "reference", "ratio", "GPU", "ref.", "ratio"]
    assert cells(extract) == ["extract", "16.0/s", "8.00/s", "loop", "2.0x", "512/s", "256/s", "2.0x"]
    assert cells(fit) == ["fit", "3.00", "s", "-", "-", "-", "-", "-"]
    assert references == "GPU references: other loop (extract)"


def test_a_recorded_gpu_is_named_with_its_day() -> None:
    gpu_record = made_up(
        benchmark(device="cuda", seconds=(0.5,)), gpu="NVIDIA H200", created="2026-11-02T00:00:00+00:00"
    )
    _, gpu, _, line = overview.lines(made_up(benchmark(seconds=(0.25,))), gpu_record)
    assert gpu == "GPU: NVIDIA H200, recorded 2026-11-02, not this machine"
    assert cells(line) == ["fit,", "SVM", "250", "ms", "-", "-", "500", "ms", "-", "-"]


def test_of_methods_the_fastest_and_the_slowest_are_shown() -> None:
    made = made_up(
        *(
            benchmark(way=name, method=name, seconds=(s,))
            for name, s in (("svm", 2.0), ("knn", 1.0), ("fc", 3.0))
        )
    )
    assert overview.lines(made, None)[-1] == "fit, SVM  1.00 s (knn) to 3.00 s (fc)"


def test_a_machine_with_times_of_a_gpu_alone_has_its_column_alone() -> None:
    made = made_up(
        benchmark(device="cuda"),
        benchmark(way="SVC", device="cuda", seconds=(0.4,), reference=True),
        gpu="L4",
    )
    _, head, line = overview.lines(made, None)
    assert cells(head) == ["operation", "GPU", "reference", "ratio"]
    assert cells(line)[-2:] == ["SVC", "2.0x"]
