"""The way most people would write it, timed beside ours in the same run."""
