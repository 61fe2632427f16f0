"""What a backup holds: the files of a state directory that nothing can make again, and the store."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshwright.control_plane.api.private_files import private_folder, read_private
from meshwright.control_plane.api.state_dir import CERTIFICATES_FOLDER
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.store.last_revision import LastRevisionFile

FOLDERS = ("ca", CERTIFICATES_FOLDER, "tokens")
FILES = ("admin.token", "read.token", "prometheus.token")

REVISION_FILE = "revision"

MODES = 0o644
"""No file of a backup is for others to write, or to run."""

MAX_NAME = 240
"""Bytes of a file's name; it has some more while it is written."""

KEYS = "mesh:"
"""How every key of a mesh's store begins."""

Files = Mapping[str, tuple[int, bytes]]
"""Mode and content by path in the state directory."""


def read_files(state: Path) -> dict[str, tuple[int, bytes]]:
    """The CA, tokens, and certificates of gateways in a state directory. Sidecars keep their own keys.

    Raises InputError for a file that is not private.
    """
    names = [*FILES, *(f"{folder}/{path.name}" for folder in FOLDERS for path in _entries(state / folder))]
    files = {}
    for name in names:
        path = state / name
        if path.is_file() and not path.is_symlink():
            files[name] = (path.stat().st_mode & 0o777, read_private(path))
    return files


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def write_files(state: Path, files: Files, revision: int) -> None:
    """Put the files where they were, and the newest revision as the last one that was served.

    Others of the same folders go: a control plane takes what it finds there.
    """
    private_folder(state)
    for old in (path for folder in FOLDERS for path in _entries(state / folder) if path.is_file()):
        if str(old.relative_to(state)) not in files:
            old.unlink()
    for name, (mode, content) in files.items():
        path = state / name
        private_folder(path.parent)
        _write(path, content, mode)
    LastRevisionFile(state / REVISION_FILE).save(revision)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file of this mode atomically."""
    temporary = path.with_name(f".{path.name}.restored")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), mode)
    temporary.replace(path)


def to_json(files: Files, store: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a backup. `about` says when and of what it was made."""
    return {
        "about": dict(about),
        "files": {name: [mode, b64encode(data).decode()] for name, (mode, data) in files.items()},
        "store": {key: b64encode(data).decode() for key, data in store.items()},
    }


def from_json(content: Mapping[str, Any]) -> tuple[Files, Mapping[str, bytes], Mapping[str, Any]]:
    """Files, store and `about` of a content. Raises InputError for what `to_json` does not make."""
    try:
        files = {name: (mode & MODES, _bytes(data)) for name, (mode, data) in content["files"].items()}
        store = {key: _bytes(data) for key, data in content["store"].items()}
        about = content["about"]
        valid = (
            isinstance(about["revision"], int) and about["revision"] >= 0 and isinstance(about["time"], str)
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        valid = False
    if not valid:
        raise InputError("its content is not that of a backup: take another copy of the file")
    for name in files:
        _check_name(name)
    if foreign := next((key for key in store if not key.startswith(KEYS)), ""):
        raise InputError(f"{foreign[:63]!r}: not a key of a mesh's store: take another copy of the file")
    return files, store, about


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)


def _check_name(name: str) -> None:
    """Raise InputError for a file that a backup cannot have."""
    folder, _, file = name.rpartition("/")
    is_known = folder in FOLDERS if folder else name in FILES
    if not is_known or file in ("", ".", "..") or "\0" in file or len(os.fsencode(file)) > MAX_NAME:
        raise InputError(f"{name[:63]}: not a file of a backup")
