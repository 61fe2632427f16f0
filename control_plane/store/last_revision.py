"""The newest revision that was served, in a local file: detects a store that lost its data."""

from __future__ import annotations

import os
from pathlib import Path


class LastRevisionFile:
    """A revision number in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = -1

    def load(self) -> int:
        """The revision; 0 when there is no file or it cannot be read."""
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return 0

    def save(self, revision: int) -> None:
        """Write the revision if it differs from the last one that was saved."""
        if revision != self._saved:
            temporary = self._path.with_name(f".revision.{os.getpid()}")
            temporary.write_text(f"{revision}\n")
            temporary.replace(self._path)
            self._saved = revision
