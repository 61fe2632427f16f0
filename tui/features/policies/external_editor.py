"""The user's own editor on a draft: `VISUAL`, else `EDITOR`, else vi where there is one.

A draft is a file that only its user can read. It stays until its change is made, so that nothing is lost.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from meshwright.control_plane.errors import InputError

SAFE_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-."
"""What of a policy's name goes into its file's name."""


def command() -> list[str]:
    """The editor with its arguments; none when there is no editor."""
    told = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = shlex.split(told)
    except ValueError:
        words = []
    if words:
        return words
    found = shutil.which("vi")
    return [found] if found else []


def new_draft(name: str, text: str) -> Path:
    """A file with a text, in a folder of its own; raises InputError where none can be made."""
    safe = "".join(char if char in SAFE_CHARACTERS else "-" for char in name)[:80]
    try:
        path = Path(tempfile.mkdtemp(prefix="mesh-edit-")) / f"{safe}.yaml"
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"no draft can be written in {tempfile.gettempdir()}: {error.strerror}") from None
    return path


def write(path: Path, text: str) -> None:
    """Put another text into a draft."""
    path.write_text(text, encoding="utf-8")


def read(path: Path) -> str:
    """A draft's text; raises InputError for one that cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read any more: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is not UTF-8 text: save it as UTF-8") from None


def discard(path: Path) -> None:
    """Remove a draft with its folder."""
    shutil.rmtree(path.parent, ignore_errors=True)


def run(words: list[str], path: Path, line: int = 0) -> None:
    """Run an editor until it ends; raises InputError when it does not start, or fails.

    `line` is where the cursor is wanted, for editors of vi's kin and nano; 0: anywhere.
    """
    at = (
        [f"+{line}"]
        if line and Path(words[0]).name in {"vi", "vim", "nvim", "nano", "emacs", "micro"}
        else []
    )
    try:
        done = subprocess.run([*words, *at, str(path)], check=False)
    except OSError as error:
        raise InputError(f"{words[0]} does not start ({error.strerror}): set EDITOR") from None
    if done.returncode:
        raise InputError(f"{words[0]} ended with code {done.returncode}: nothing was taken from it")
