"""Tools that made the files that come with the package; not in the wheel."""
