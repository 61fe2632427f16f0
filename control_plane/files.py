"""Files with keys, certificates and passwords: limited in size, and secrets must be private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from meshwright.control_plane.errors import InputError

SIZE_LIMIT = 65536
"""Bytes; a certificate chain has a few thousand."""


def read(path: Path, *, secret: bool) -> bytes:
    """The content of a file; raises InputError when it is unreadable, too large, or an exposed secret.

    A secret may be group-readable only if it belongs to another user, as Kubernetes mounts secrets
    (`fsGroup`): the reader could not change its mode.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode)
            forbidden = 0o077 if status.st_uid == os.geteuid() else 0o037
            if secret and mode & forbidden:
                raise InputError(
                    f"{path}: this key is readable by others (mode {mode:04o}): run chmod 600 {path}"
                )
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > SIZE_LIMIT:
        raise InputError(f"{path}: larger than {SIZE_LIMIT} bytes: not a key or certificate")
    return content


def password(path: Path) -> str:
    """The first line of a password file; raises InputError."""
    try:
        lines = read(path, secret=True).decode().splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text: write the password into it") from None
    if not lines or not lines[0]:
        raise InputError(f"{path}: is empty: write the password into it")
    return lines[0]
