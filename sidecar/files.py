"""Writing files that others must not read, and that must never be seen half written."""

from __future__ import annotations

import os
from pathlib import Path


def private_folder(folder: Path) -> Path:
    """Make `folder` (and what leads to it) with mode 0700; raises PermissionError when it is another's.

    The check matters below a shared temporary folder, where a stranger may have made it first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError(
            f"{folder} belongs to another user: remove it, or choose another state directory"
        )
    folder.chmod(0o700)
    return folder


def write_private(path: Path, data: str | bytes) -> None:
    """Put `data` in `path` in one step (readers see the old or the new whole), mode 0600."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
    fresh.replace(path)


def rotate_log(path: Path, limit: int, keep: int = 2) -> bool:
    """Cut a log that grew over `limit` bytes, keeping `keep` older ones as `path.1`, `path.2`.

    The file is copied and truncated rather than renamed: its writer holds it open (for appending) and must
    not notice. Lines written between the two steps are lost. Returns whether it was cut.
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


def tail(path: Path, lines: int = 15, limit: int = 16384) -> str:
    """The last `lines` lines of a file, at most `limit` bytes; empty when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - limit))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def read_log(path: Path, lines: int, after: int | None, limit: int) -> tuple[str, int]:
    """The last `lines` lines of a log, or what came `after` an offset, at most `limit` bytes; where it ends.

    A log shorter than the offset was cut meanwhile (`rotate`): then it is read from its beginning. What comes
    after an offset ends with a whole line. Empty when there is no log.
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
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    if after is None:
        kept = data.splitlines(keepends=True)[-lines:] if lines else []
        return b"".join(kept).decode(errors="replace"), size
    whole = data.rfind(b"\n") + 1
    return data[:whole].decode(errors="replace"), start + whole
