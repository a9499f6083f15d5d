"""All that a new GPU can say in a few minutes: `python -m bench.gpu --minutes 8 --out DIR`."""
