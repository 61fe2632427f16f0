"""How `mesh sync` marks what it applies: a label of each policy, the end of each revision's message. Pure."""

from __future__ import annotations

LABEL = "meshwright.io/synced-from"
"""Its value is the sync's name. A sync prunes what has it and nothing else."""


def origin(name: str, version: str) -> str:
    """The end of the message of a revision that a sync made of a version."""
    return f"(sync {name} {version})"


def synced_version(message: str, name: str) -> str:
    """The version of which a sync made the revision with this message; empty if it did not make it."""
    _, mark, version = message.rpartition(origin(name, "")[:-1])
    return version[:-1] if mark and version.endswith(")") else ""
