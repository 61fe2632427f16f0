"""Private files written atomically, and log files: rotating them and reading their end."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, data: str | bytes) -> None:
    """Replace `path` atomically (readers see the old or the new content), mode 0600.

    Raises OSError, and leaves the old content and nothing else, when the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def log_path(state: Path, name: str) -> Path:
    """The log file of the child process `name`."""
    return state / "logs" / f"{name}.log"


def rotate_log(path: Path, limit: int, keep: int = 2) -> bool:
    """Truncate a log larger than `limit` bytes and keep `keep` older ones as `path.1`, `path.2`.

    Copies and truncates instead of renaming, because the writer holds the file open for appending. Lines
    written between the two steps are lost. Returns whether the log was rotated.
    """
    try:
        if path.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    for number in range(keep, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))
    with path.open("rb") as file:
        file.seek(-min(limit, path.stat().st_size), os.SEEK_END)
        write_private(path.with_name(f"{path.name}.1"), file.read(limit))
    os.truncate(path, 0)
    return True


def tail(path: Path, lines: int = 15, limit: int = 16384, after: int = 0) -> str:
    """The last `lines` lines of a file, at most `limit` bytes, of what follows the offset `after`.

    A file shorter than the offset was rotated and is read from the start. Empty when there is no file.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0 if after > size else after, size - limit))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def read_log(path: Path, lines: int, after: int | None, limit: int) -> tuple[str, int]:
    """The last `lines` lines of a log, or what follows the offset `after`, and the offset where it ends.

    At most `limit` bytes. A log shorter than the offset was rotated and is read from the start. Text after an
    offset ends with a complete line. Empty when there is no log.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = 0 if after is None or after > size else after
            skipped = size - start > limit
            start = max(start, size - limit)
            file.seek(start)
            data = file.read(size - start)
    except FileNotFoundError:
        return "", 0
    if skipped:
        first_line = data.find(b"\n") + 1
        start, data = start + first_line, data[first_line:]
    if after is None:
        last_lines = data.splitlines(keepends=True)[-lines:] if lines else []
        return b"".join(last_lines).decode(errors="replace"), size
    complete = data.rfind(b"\n") + 1
    return data[:complete].decode(errors="replace"), start + complete
