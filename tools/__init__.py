"""What makes the bundled weights and the documents; not in the wheel."""
