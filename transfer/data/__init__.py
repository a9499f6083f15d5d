"""Labelled images: how they are split, and which of them belong together."""
