"""Files that hold keys, certificates and passwords: bounded in size, and secrets closed to others."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from meshwright.control_plane.errors import InputError

SIZE_LIMIT = 65536
"""Bytes: a chain of certificates has a few thousand."""


def read(path: Path, *, secret: bool) -> bytes:
    """What a file holds; raises InputError when it cannot be read, is too large, or is a secret in the open.

    A secret may be readable by its group only where it belongs to somebody else, as Kubernetes mounts secrets
    (`fsGroup`): its reader could not close it.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            open_to = stat.S_IMODE(found.st_mode) & (0o077 if found.st_uid == os.geteuid() else 0o037)
            if secret and open_to:
                mode = stat.S_IMODE(found.st_mode)
                raise InputError(f"{path}: others may read this key (mode {mode:04o}): run chmod 600 {path}")
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > SIZE_LIMIT:
        raise InputError(f"{path}: larger than {SIZE_LIMIT} bytes: this is neither a key nor a certificate")
    return content


def password(path: Path) -> str:
    """The first line of a file that holds a password; raises InputError."""
    try:
        lines = read(path, secret=True).decode().splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text: write the password into it") from None
    if not lines or not lines[0]:
        raise InputError(f"{path}: is empty: write the password into it")
    return lines[0]
