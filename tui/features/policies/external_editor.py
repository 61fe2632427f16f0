"""The user's own editor on a draft: `VISUAL`, else `EDITOR`, else vi if it is installed.

A draft is a file that only its user can read. It is kept until its change is applied.
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
"""Characters of a policy's name that its draft's file name keeps."""

LINE_ARGUMENT_EDITORS = frozenset({"vi", "vim", "nvim", "nano", "emacs", "micro"})
"""Editors that open a file at a line given as `+LINE`."""


def command() -> list[str]:
    """The editor and its arguments; empty if there is no editor."""
    configured = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        arguments = shlex.split(configured)
    except ValueError:
        arguments = []
    if arguments:
        return arguments
    vi = shutil.which("vi")
    return [vi] if vi else []


def new_draft(name: str, text: str) -> Path:
    """Create a file with a text, in a directory of its own. Raises InputError if that fails."""
    safe_name = "".join(char if char in SAFE_CHARACTERS else "-" for char in name)[:80]
    try:
        path = Path(tempfile.mkdtemp(prefix="mesh-edit-")) / f"{safe_name}.yaml"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"cannot write a draft in {tempfile.gettempdir()}: {error.strerror}") from None
    return path


def write(path: Path, text: str) -> None:
    """Replace the text of a draft."""
    path.write_text(text, encoding="utf-8")


def read(path: Path) -> str:
    """The text of a draft. Raises InputError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise InputError(f"{path} is not UTF-8 text: save it as UTF-8") from None


def discard(path: Path) -> None:
    """Delete a draft and its directory."""
    shutil.rmtree(path.parent, ignore_errors=True)


def run(editor: list[str], path: Path, line: int = 0) -> None:
    """Run an editor until it exits. Raises InputError if it does not start, or fails.

    `line`: where to put the cursor, for editors that accept it; 0: anywhere.
    """
    accepts_line = Path(editor[0]).name in LINE_ARGUMENT_EDITORS
    position = [f"+{line}"] if line and accepts_line else []
    try:
        result = subprocess.run([*editor, *position, str(path)], check=False)
    except OSError as error:
        raise InputError(f"{editor[0]} does not start ({error.strerror}): set EDITOR") from None
    if result.returncode:
        raise InputError(f"{editor[0]} exited with code {result.returncode}: its text was not used")
