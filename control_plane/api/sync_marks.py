"""How `mesh sync` marks what it applies: a label of each policy, the end of each revision's message. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LABEL = "meshwright.io/synced-from"
"""Its value is the sync's name. A sync prunes what has it and nothing else."""

ENDED = "ended"
"""In a revision's message in place of a version, it ends a sync whose policies stay: `(sync shop ended)`."""

_ORIGIN = re.compile(r"\(sync (\S+) \S+\)$")


def origin(name: str, version: str) -> str:
    """The end of the message of a revision that a sync made of a version."""
    return f"(sync {name} {version})"


def synced_version(message: str, name: str) -> str:
    """The version of which a sync made the revision with this message; empty if it did not make it."""
    _, mark, version = message.rpartition(origin(name, "")[:-1])
    return version[:-1] if mark and version.endswith(")") else ""


def sync_in(message: str) -> str:
    """The name of the sync that made the revision with this message, or ended with it; empty if none."""
    match = _ORIGIN.search(message)
    return match[1] if match else ""


def label(document: Mapping[str, Any]) -> str:
    """The name of the sync that a policy belongs to; empty if it belongs to none."""
    return str(document["metadata"].get("labels", {}).get(LABEL, ""))


def without_label(
    name: str, synced: Mapping[str, Mapping[str, Any]], current: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Policies of a sync that are in the mesh without any sync's label, if none has its label any more.

    `synced` has the documents of the sync's last revision by `Kind/name`, `current` those of the mesh. Empty
    too where all were deleted or belong to another sync, which ends this one.
    """
    if any(label(document) == name for document in current.values()):
        return []
    mine = (ref for ref, document in synced.items() if label(document) == name)
    return sorted(ref for ref in mine if ref in current and not label(current[ref]))
