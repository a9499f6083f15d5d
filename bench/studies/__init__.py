"""Studies that are run by hand: `python -m bench.studies.NAME`."""
