"""The comparison of methods: its statistics."""
