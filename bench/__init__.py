"""Timing: pytest-benchmark suites, and the references that are timed in the same run."""
