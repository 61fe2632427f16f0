"""A tar.gz that is private, redacted and bounded."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshwright.cli.support_bundle.redaction import Redaction
from meshwright.control_plane.errors import InputError

MAX_ENTRY = 2 * 1024 * 1024
"""Bytes of one file. A longer one loses its beginning: the end of a log is what matters."""

MAX_TOTAL = 64 * 1024 * 1024
"""Bytes of all files before compression, which makes a tenth of it."""


class BundleArchive:
    """Writes redacted texts until MAX_TOTAL. `left_out` names what did not fit, `shortened` what was cut."""

    def __init__(self, tar: tarfile.TarFile, redaction: Redaction, root: str) -> None:
        self._tar = tar
        self._redaction = redaction
        self._root = root
        self._total = 0
        self.left_out: list[str] = []
        self.shortened: list[str] = []

    def add(self, name: str, text: str) -> None:
        """Add a file of this text."""
        # Redacted before it is cut: half a secret is not recognised.
        data = self._redaction.redact(text).encode(errors="replace")
        if len(data) > MAX_ENTRY:
            self.shortened.append(name)
            data = data[-MAX_ENTRY:]
        if self._total + len(data) > MAX_TOTAL:
            self.left_out.append(name)
            return
        self._total += len(data)
        entry = tarfile.TarInfo(f"{self._root}/{name}")
        entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
        self._tar.addfile(entry, io.BytesIO(data))


@contextmanager
def bundle_archive(path: Path, redaction: Redaction) -> Iterator[BundleArchive]:
    """Create the archive, mode 0600; raises InputError if the file exists or cannot be created.

    Nothing is left of it if the block fails.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise InputError(f"{path}: exists already: name another file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be created: {error.strerror}") from None
    try:
        with (
            os.fdopen(descriptor, "wb") as file,
            gzip.GzipFile(fileobj=file, mode="wb", filename="") as compressed,
            tarfile.open(fileobj=compressed, mode="w") as tar,
        ):
            yield BundleArchive(tar, redaction, path.name.removesuffix(".tar.gz"))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
