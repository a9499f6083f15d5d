"""Links of the documentation site: a hook of MkDocs, named in `mkdocs.yml`."""

from __future__ import annotations

from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Link to the site's page of recorded results where a page links to their file in the repository."""
    return markdown.replace("](../results/README.md", "](results.md")
