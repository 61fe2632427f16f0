"""Remembers which policy files said the same as which revision, so that they are not parsed again.

Parsing and comparing the policies of an application costs more than all else that `mesh up` does when nothing
has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from meshwright.control_plane.api.private_files import read_private
from meshwright.control_plane.api.software_version import VERSION
from meshwright.sidecar.files import write_private

AGREEMENT_FILE = "policies.json"


def agreement(files: Iterable[tuple[str, bytes]], revision: Mapping[str, Any]) -> str:
    """Equal for equal files and the same revision, as the API lists it, of the same store.

    Another version of Meshwright may read a file otherwise, so it is part of it.
    """
    total = hashlib.sha256(json.dumps([VERSION, revision], sort_keys=True).encode())
    for name, content in files:
        total.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
    return total.hexdigest()


def is_agreed(state: Path, value: str) -> bool:
    """Whether this agreement is the one that was remembered last."""
    try:
        return read_private(state / AGREEMENT_FILE).decode() == value
    except (OSError, ValueError):
        return False


def remember(state: Path, value: str) -> None:
    """Remember an agreement for the next command; without it, that command parses the files."""
    with suppress(OSError):
        write_private(state / AGREEMENT_FILE, value)
