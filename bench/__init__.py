"""Timing: pytest-benchmark suites, and the references that ours is measured against in the same run."""
