"""The admin API's bearer tokens in the state directory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from meshwright.control_plane.api.auth import tokens_equal
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.files import password

TOKEN_BYTES = 32
"""Random bytes in a token: 256 bits cannot be guessed."""


def ensure_token(state: Path, name: str = "admin.token") -> str:
    """The token in STATE/`name`, created (0600) if it is missing; raises InputError for an invalid one."""
    path = state / name
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        path.chmod(0o600)
        token = path.read_text().strip()
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
