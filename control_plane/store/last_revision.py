"""The newest revision that was served, in a local file: detects a store that lost its data."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


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
        """Write the revision if it differs from the last one that was saved.

        A full disk is no reason to stop serving: the file keeps the older revision until the next one.
        """
        if revision == self._saved:
            return
        temporary = self._path.with_name(f".revision.{os.getpid()}")
        try:
            temporary.touch(mode=0o600)
            temporary.write_text(f"{revision}\n")
            temporary.replace(self._path)
        except OSError as error:
            log.warning("cannot save the revision", path=str(self._path), reason=str(error))
            temporary.unlink(missing_ok=True)
        else:
            self._saved = revision
