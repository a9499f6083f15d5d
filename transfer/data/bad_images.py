"""What becomes of images that can't be read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from transfer.data.limits import BadImage
from transfer.system.errors import UserError

ADVICE = "mend or remove it, or use `on_bad_image='skip'`"


class BadImages:
    """The handling of images that can't be read: the first ends the run, or all are left out and listed.

    Parameters
    ----------
    root : Path, optional
        Folder that names are relative to.
    rule : {"error", "skip"}
    skipped : mapping of str to str
        What is left out already: names and reasons.
    advice : str
        What can be done about an image that ends the run, for the message.
    """

    def __init__(
        self,
        root: Path | None,
        rule: str,
        skipped: Mapping[str, str] = MappingProxyType({}),
        advice: str = ADVICE,
    ) -> None:
        self.root = root
        self.rule = rule
        self.advice = advice
        self.skipped = dict(skipped)
        """Names, relative to the root where they lie in it, and the reasons."""

    def record(self, path: Path, error: BadImage) -> None:
        """Record a bad image.

        Raises
        ------
        UserError
            If the rule is `error`.
        """
        if self.rule == "error":
            raise UserError(f"can't read {path}: {error}; {self.advice}")
        name = path.relative_to(self.root) if self.root and path.is_relative_to(self.root) else path
        self.skipped[name.as_posix()] = sys.intern(str(error))  # of a million bad images few have their own
