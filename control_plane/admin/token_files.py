"""The admin API's bearer tokens in the state directory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from meshwright.control_plane.api.auth import tokens_equal
from meshwright.control_plane.api.private_files import private_folder, read_private
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.files import password

TOKEN_BYTES = 32
"""Random bytes in a token: 256 bits cannot be guessed."""


def prometheus_token(settings: Settings) -> str:
    """The bearer token with which Prometheus reads its scrape targets."""
    if settings.prometheus_token_file:
        return password(Path(settings.prometheus_token_file))
    return ensure_token(settings.state, "prometheus.token")


def ensure_token(state: Path, name: str = "admin.token") -> str:
    """The token in STATE/`name`, created (0600) if it is missing.

    Raises InputError for an invalid one, and for one that others may know or have put there.
    """
    path = private_folder(state) / name
    if os.path.lexists(path):
        token = read_private(path).decode("ascii", "replace").strip()
        path.chmod(0o600)
        if len(token) < TOKEN_BYTES:
            raise InputError(f"{path}: too short for a token: remove the file and start again")
        return token
    token = secrets.token_urlsafe(TOKEN_BYTES)
    temporary = path.with_name(f".{name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    temporary.replace(path)
    return token


def ensure_read_token(state: Path, file: str, admin_token: str) -> str:
    """The read-only token: from `file` if that is set, else from STATE/read.token.

    Raises InputError if it is invalid or equals the admin token.
    """
    token = password(Path(file)) if file else ensure_token(state, "read.token")
    if tokens_equal(token, admin_token):
        path = file or state / "read.token"
        raise InputError(
            f"{path}: this is the admin token, which may change everything: use a different token here"
        )
    return token
