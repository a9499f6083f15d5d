"""The comparison of methods and its statistics."""
