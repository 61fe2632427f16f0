"""The source files of an application's services, and which of them changed.

The files are looked at, not subscribed to: that works on every system and file system, also for those that a
container mounts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

from meshwright.cli.application import ServiceEntry

MAX_FILES = 10_000
"""Files of one service that are looked at."""

_SKIPPED = frozenset({"__pycache__", "node_modules", "venv", "target", "dist", "build"})
"""Folders with what is made from sources, besides hidden ones such as .git and .mesh."""

Stamps = Mapping[Path, tuple[int, int]]
"""Modification time in ns and size of each file."""


def source_stamps(entry: ServiceEntry, folder: Path) -> Stamps:
    """The present state of a service's source files.

    They are those of its `watch`, else what its command names in the application's folder: for a file all in
    its folder with the same suffix, for a module after `-m` its Python files.
    """
    stamps = {}
    for path in islice(_sources(entry, folder), MAX_FILES):
        try:
            status = path.stat()
        except OSError:
            continue
        stamps[path] = (status.st_mtime_ns, status.st_size)
    return stamps


def changed_file(before: Stamps, after: Stamps) -> Path | None:
    """One file that was written, added or removed; None if there is none."""
    return next((path for path in sorted({*before, *after}) if before.get(path) != after.get(path)), None)


def _sources(entry: ServiceEntry, folder: Path) -> Iterator[Path]:
    if entry.watch:
        for name in entry.watch:
            yield from _files(folder / name)
        return
    arguments = entry.command
    for before, argument in zip(("", *arguments), arguments, strict=False):
        path = folder / argument
        if before == "-m":
            module = folder.joinpath(*argument.split("."))
            yield from _files(module, {".py"}) if module.is_dir() else [module.with_suffix(".py")]
        elif not argument.startswith(("-", "/")) and path.is_file():
            yield from _files(path.parent, {path.suffix}) if path.suffix else [path]


def _files(path: Path, suffixes: Collection[str] = ()) -> Iterator[Path]:
    """The files at and below a path, only those with `suffixes` if there are any."""
    if path.is_file():
        yield path
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
        for name in sorted(files):
            if not name.startswith(".") and (not suffixes or Path(name).suffix in suffixes):
                yield Path(folder, name)
