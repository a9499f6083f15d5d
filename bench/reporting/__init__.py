"""Records of `make bench`: written, summarised, and collected in `results/`."""
