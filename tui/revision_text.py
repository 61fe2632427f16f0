"""Revisions and their changes in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.tui.format import format_age, sanitize

CHANGES_SHOWN = 4
"""Changes that are named; further ones are counted."""


def describe_changes(changes: Iterable[DocumentChange], limit: int = CHANGES_SHOWN) -> list[str]:
    """Up to `limit` changes as `changed Retry/mesh`, then the number of the others."""
    texts = [
        f"{change.action} {change.kind}/{change.name}" for change in changes if change.action != "unchanged"
    ]
    return texts if len(texts) <= limit else [*texts[:limit], f"{len(texts) - limit} more"]


def revision_summary(revision: RevisionInfo, now: float) -> str:
    """A revision in one line: number, age, author, message."""
    author = sanitize(revision.author) or "unknown author"
    message = sanitize(revision.message) or "no message"
    return f"revision {revision.revision} · {format_age(now - revision.time)} ago · {author} · {message}"
