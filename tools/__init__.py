"""How files that come with the package were made; not in the wheel."""
