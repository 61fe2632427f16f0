"""Which mesh a client talks to: the one of a state directory, or a remote one named by its settings.

In this order: `--state`, `MESH_API` with `MESH_TOKEN_FILE`, `MESH_STATE`, `./.mesh`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from meshwright.control_plane.api.errors import UnreachableError
from meshwright.control_plane.errors import InputError

TOKEN_LIMIT = 4096
"""Characters a token file may have; ours have 43."""


@dataclass(frozen=True, slots=True)
class ApiEndpoint:
    """Where the admin API answers, without a slash at the end, and the bearer token for it."""

    url: str
    token: str = field(repr=False)


def locate_mesh(environ: Mapping[str, str], state: Path | None = None) -> ApiEndpoint:
    """The mesh to talk to; raises InputError for wrong settings, UnreachableError where none has run."""
    if state is None and environ.get("MESH_API"):
        return _remote(environ["MESH_API"], environ.get("MESH_TOKEN_FILE", ""))
    folder = state_dir(environ, state)
    try:
        url = json.loads((folder / "mesh.json").read_text())["admin"]
    except FileNotFoundError:
        raise UnreachableError(str(folder), "no mesh.json there") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / 'mesh.json'}:1:1: cannot be read ({error}): start the mesh anew"
        ) from None
    return ApiEndpoint(_validate_url(str(url), "mesh.json"), _read_token(folder / "admin.token"))


def state_dir(environ: Mapping[str, str], state: Path | None = None) -> Path:
    """The state directory that is meant: `--state`, `MESH_STATE`, `./.mesh`."""
    return state or Path(environ.get("MESH_STATE") or ".mesh")


def _remote(url: str, token_file: str) -> ApiEndpoint:
    if not token_file:
        raise InputError("MESH_API is set but MESH_TOKEN_FILE is not: name the file that holds its token")
    return ApiEndpoint(_validate_url(str(url), "MESH_API"), _read_token(Path(token_file)))


def _validate_url(url: str, where: str) -> str:
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        good = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        good = False
    if not good:
        raise InputError(f"{where}: {url!r} is no address: write it like http://127.0.0.1:15080")
    return full.rstrip("/")


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            token = file.read(TOKEN_LIMIT + 1).decode().strip()
    except FileNotFoundError:
        raise InputError(f"{path}:1:1: no such token file: is this the state of a mesh?") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}:1:1: the token cannot be read: {type(error).__name__}") from None
    if not token or len(token) > TOKEN_LIMIT or not token.isascii() or not token.isprintable():
        raise InputError(f"{path}:1:1: holds no token: take admin.token or read.token of the mesh's state")
    return token
