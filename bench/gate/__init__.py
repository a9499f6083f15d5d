"""The runtime gate: are two revisions equally fast? `python -m bench.gate BASE [HEAD]`."""
