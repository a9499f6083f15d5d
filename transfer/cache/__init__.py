"""Features and other computed files on disk, addressed by what was declared and by content."""
