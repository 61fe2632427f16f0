"""Policy files as a user names them: a file, a folder, or `-` for standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies import loader
from meshwright.control_plane.policies.schema import dump

SUFFIXES = (".yaml", ".yml", ".json")

READ_LIMIT = 64 * 1024 * 1024
"""Bytes read of one file: far above what is accepted, so that its size can be told."""

STDIN = "<stdin>"


def load_documents(paths: Iterable[str]) -> list[SourcedDocument]:
    """All documents of files and folders; raises InputError with a line for each problem."""
    loaded = read_documents(paths)
    return [SourcedDocument(dump(one.policy), f"{one.path}:{one.line}") for one in loaded.documents]


def read_documents(paths: Iterable[str]) -> loader.LoadResult:
    """The documents with their places; raises InputError with a line for each problem."""
    paths = list(paths)
    if not paths:
        raise InputError("name what to read with -f: a file, a folder, or - for stdin")
    loaded = loader.load_files([(name, data) for path in paths for name, data in _read_path(path)])
    if loaded.problems:
        raise InputError("\n".join(str(problem) for problem in loaded.problems))
    return loaded


def _read_path(path: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file that a path means."""
    if path == "-":
        yield STDIN, _read_limited(sys.stdin.buffer)
        return
    for file in _files(Path(path)):
        try:
            with file.open("rb") as opened:
                data = _read_limited(opened)
        except OSError as error:
            what = (error.strerror or type(error).__name__).lower()
            raise InputError(f"{file}:1:1: cannot be read ({what}): check the path") from None
        yield str(file), data


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        found = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES and not entry.is_dir())
    except OSError as error:
        raise InputError(f"{path}:1:1: cannot be read ({(error.strerror or '').lower()})") from None
    if not found:
        raise InputError(f"{path}:1:1: holds no {', '.join('*' + suffix for suffix in SUFFIXES)}")
    return found


def _read_limited(file: BinaryIO) -> bytes:
    return file.read(READ_LIMIT)
