"""Folders and files from which secrets and addresses are read: checked before use, as sshd checks its keys.

Whoever may write to the state directory can send the admin token to a port of their own, or have a root
process overwrite their choice of files. So it belongs to the user of the process, nobody else may write to
it, and nothing in it is reached through a symbolic link.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from meshwright.control_plane.errors import InputError

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600

SIZE_LIMIT = 1 << 20
"""Bytes of a file that is read as a whole: far more than any of ours has."""

_OTHERS, _OTHERS_WRITE = 0o077, 0o022


def private_folder(folder: Path) -> Path:
    """Make sure that `folder` is a private one of this user, mode 0700 whatever the umask, and return it.

    Missing parents are made as private. Raises InputError as `check_folder` does, OSError if it cannot be.
    """
    missing = []
    parent = folder
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = parent.parent
    for new in reversed(missing):
        new.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    check_folder(folder)
    if stat.S_IMODE(folder.lstat().st_mode) != PRIVATE_FOLDER:
        folder.chmod(PRIVATE_FOLDER)
    return folder


def check_folder(folder: Path) -> None:
    """Raise InputError unless `folder` is a real folder of this user to which nobody else may write.

    A folder that does not exist passes: nothing is read from it.
    """
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{folder}: cannot be examined: {error.strerror}") from None
    if stat.S_ISLNK(status.st_mode):
        raise InputError(f"{folder}: is a symbolic link, not a folder of yours: name the folder itself")
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{folder}: is not a folder: remove it, or choose another --state")
    _check_owner(folder, status, "folder")
    if status.st_mode & _OTHERS_WRITE:
        raise InputError(
            f"{folder}: others may write to it (mode {stat.S_IMODE(status.st_mode):04o}): "
            f"if nobody else has, run chmod 700 {folder}"
        )


def read_private(path: Path, *, secret: bool = False) -> bytes:
    """The content of a file in a folder that was checked.

    Raises FileNotFoundError, and InputError for a link, for a file of another user or to which others may
    write, for a `secret` that others may read, for one that is larger than SIZE_LIMIT or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "is a symbolic link" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise InputError(f"{path}: {reason}: remove it, or choose another --state") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is not a file: remove it, or choose another --state")
        _check_owner(path, status, "file")
        if status.st_mode & (_OTHERS if secret else _OTHERS_WRITE):
            reason = (
                "others may write to it" if status.st_mode & _OTHERS_WRITE else "it is readable by others"
            )
            raise InputError(
                f"{path}: {reason} (mode {stat.S_IMODE(status.st_mode):04o}): if nobody else has used it, "
                f"run chmod 600 {path}"
            )
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise InputError(f"{path}: larger than {SIZE_LIMIT} bytes: it is not a file of a mesh")
    return content


def read_named(path: Path, limit: int = SIZE_LIMIT) -> bytes:
    """At most `limit` bytes of a file that the user named, such as a join token.

    It may be a link, a pipe or another user's, as secrets that are mounted into containers are. Raises
    InputError for a file to which everybody may write, OSError if it cannot be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
            mode = stat.S_IMODE(status.st_mode)
            raise InputError(f"{path}: everybody may write to it (mode {mode:04o}): run chmod o-w {path}")
        return file.read(limit)


def _check_owner(path: Path, status: os.stat_result, kind: str) -> None:
    if status.st_uid != os.geteuid():
        raise InputError(
            f"{path}: belongs to uid {status.st_uid}, not a {kind} of yours (uid {os.geteuid()}): "
            "choose another --state, or run the command as that user"
        )
