"""The newest revision that was served, kept beside the store so that one which forgot it is noticed."""

from __future__ import annotations

import os
from pathlib import Path


class LastRevisionFile:
    """A number in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = -1

    def load(self) -> int:
        """The revision; 0 when there is none or it cannot be read."""
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return 0

    def save(self, revision: int) -> None:
        """Write it down when it differs from what was."""
        if revision != self._saved:
            fresh = self._path.with_name(f".revision.{os.getpid()}")
            fresh.write_text(f"{revision}\n")
            fresh.replace(self._path)
            self._saved = revision
