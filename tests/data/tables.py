"""Tables of files and labels for tests; the files are empty, as nothing here opens one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_table(root: Path, text: str, name: str = "labels.csv", *, absent: Sequence[str] = ()) -> Path:
    """A table in a folder, and every file that its first column names but those that are to be absent."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / name
    path.write_text(text)
    for line in text.splitlines()[1:]:
        file = line.split(",")[0].strip()
        if file and file not in absent and not file.startswith("/"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).touch()
    return path


def rows_of(**counts: int) -> str:
    """Lines of so many files of each class."""
    return "".join(f"{name}{i:02}.jpg,{name}\n" for name, count in counts.items() for i in range(count))
