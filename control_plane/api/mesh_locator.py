"""Which mesh a client talks to: that of a state directory, or a remote one from the settings.

In order of precedence: `--state`, `--context` or `MESH_CONTEXT`, `MESH_API` with `MESH_TOKEN_FILE`,
`MESH_STATE`, `./.mesh`, the context that `mesh context use` chose. That one is last, so that a command in the
folder of a mesh is never about another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from meshwright.control_plane.api.contexts import NamedMesh, read_contexts
from meshwright.control_plane.api.errors import UnreachableError
from meshwright.control_plane.api.private_files import check_folder, read_named, read_private
from meshwright.control_plane.errors import InputError

TOKEN_LIMIT = 4096
"""Characters of a token file; ours have 43."""


@dataclass(frozen=True, slots=True)
class ApiEndpoint:
    """The admin API's URL, without a trailing slash, and a bearer token for it."""

    url: str
    token: str = field(repr=False)


def locate_mesh(environ: Mapping[str, str], state: Path | None = None) -> ApiEndpoint:
    """Find the mesh; raises InputError for invalid settings, UnreachableError if none was started there."""
    if state is None and (context := chosen_context(environ)):
        return endpoint_of(context)
    if state is None and environ.get("MESH_API"):
        return _remote(environ["MESH_API"], environ.get("MESH_TOKEN_FILE", ""))
    return _local(state_dir(environ, state))


def located_state_dir(environ: Mapping[str, str], state: Path | None = None) -> Path | None:
    """The state directory of the mesh that `locate_mesh` finds; None for one that is known by its address."""
    if state is None and (context := chosen_context(environ)):
        return Path(context.state) if context.state else None
    return None if state is None and environ.get("MESH_API") else state_dir(environ, state)


def endpoint_of(context: NamedMesh) -> ApiEndpoint:
    """The mesh of a context; raises as `locate_mesh`."""
    if context.state:
        return _local(Path(context.state))
    return ApiEndpoint(_validate_url(context.api, "context"), _read_token(Path(context.token_file)))


def chosen_context(environ: Mapping[str, str]) -> NamedMesh | None:
    """The context in effect: that of `MESH_CONTEXT`, else the current one where nothing else names a mesh.

    Raises NotFoundError if it does not exist, InputError if the contexts cannot be read.
    """
    if environ.get("MESH_CONTEXT"):
        return _named(environ)
    if environ.get("MESH_API") or environ.get("MESH_STATE") or state_dir(environ).exists():
        return None
    contexts = read_contexts(environ)
    return contexts.get(contexts.current) if contexts.current else None


def _local(folder: Path) -> ApiEndpoint:
    """The mesh of a state directory."""
    check_folder(folder)
    try:
        url = json.loads(read_private(folder / "mesh.json"))["admin"]
    except FileNotFoundError:
        raise UnreachableError(str(folder), "no mesh.json there") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'mesh.json'}:1:1: cannot be read ({error}): restart the mesh") from None
    return ApiEndpoint(_validate_url(str(url), "mesh.json"), _read_state_token(folder / "admin.token"))


def state_dir(environ: Mapping[str, str], state: Path | None = None) -> Path:
    """The state directory: `--state`, that of the context in `MESH_CONTEXT`, `MESH_STATE`, `./.mesh`."""
    named = "" if state or not environ.get("MESH_CONTEXT") else _named(environ).state
    return state or Path(named or environ.get("MESH_STATE") or ".mesh")


def local_state_dir(environ: Mapping[str, str], state: Path | None) -> Path:
    """The state directory for a command that acts on this host; raises InputError for a remote context."""
    if state is None and environ.get("MESH_CONTEXT") and not _named(environ).state:
        raise InputError(
            f"context {environ['MESH_CONTEXT']} is not a mesh of this host, on which this command acts: "
            "run it there, or give --state"
        )
    return state_dir(environ, state)


def _named(environ: Mapping[str, str]) -> NamedMesh:
    return read_contexts(environ).get(environ["MESH_CONTEXT"])


def _remote(url: str, token_file: str) -> ApiEndpoint:
    if not token_file:
        raise InputError(
            "MESH_API is set but MESH_TOKEN_FILE is not: set it to the file with the mesh's token"
        )
    return ApiEndpoint(_validate_url(str(url), "MESH_API"), _read_token(Path(token_file)))


def _validate_url(url: str, origin: str) -> str:
    full = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(full)
        valid = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"{origin}: {url!r} is not a valid URL: write it like http://127.0.0.1:15080")
    return full.rstrip("/")


def _read_state_token(path: Path) -> str:
    """The token in a state directory: a link, or a file that others could change, is refused."""
    try:
        return _parse_token(path, read_private(path))
    except FileNotFoundError:
        raise InputError(f"{path}:1:1: no such token file: is this the state of a mesh?") from None


def _read_token(path: Path) -> str:
    """The token in a file that the user named."""
    try:
        content = read_named(path, TOKEN_LIMIT + 1)
    except FileNotFoundError:
        raise InputError(f"{path}:1:1: no such token file: is this the state of a mesh?") from None
    except OSError as error:
        raise InputError(f"{path}:1:1: the token cannot be read: {type(error).__name__}") from None
    return _parse_token(path, content)


def _parse_token(path: Path, content: bytes) -> str:
    token = content.decode("ascii", "replace").strip()
    if not token or len(token) > TOKEN_LIMIT or not token.isascii() or not token.isprintable():
        raise InputError(
            f"{path}:1:1: contains no token: use admin.token or read.token of the mesh's state directory"
        )
    return token
