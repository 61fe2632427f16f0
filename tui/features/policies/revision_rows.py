"""Rows of the revision history: of one policy, and of the whole mesh. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.tui.format import NO_VALUE, format_age, sanitize
from meshwright.tui.revision_text import describe_changes
from meshwright.tui.widgets.table_model import SortOrder, TableCell, TableColumn, TableRow

HISTORY_COLUMNS = (
    TableColumn("rev", 5, right=True),
    TableColumn("age", 6, right=True),
    TableColumn("change", 8, drop_rank=1),
    TableColumn("message", 16, grow=True),
    TableColumn("author", 18, drop_rank=2),
)
REVISION_COLUMNS = (
    TableColumn("rev", 5, right=True),
    TableColumn("age", 6, right=True),
    TableColumn("message", 16, grow=True),
    TableColumn("changes", 22, grow=True, drop_rank=1),
    TableColumn("author", 18, drop_rank=2),
)
REVISION_ORDERS: tuple[SortOrder[RevisionInfo], ...] = (
    SortOrder("number", "rev", lambda each: -each.revision, descending=True),
    SortOrder("message", "message", lambda each: (not each.message, each.message, -each.revision)),
    SortOrder("number of changes", "changes", lambda each: (-len(each.changed), -each.revision), True),
    SortOrder("author", "author", lambda each: (each.author, -each.revision)),
)


def revisions_of(
    revisions: Iterable[RevisionInfo], kind: str, name: str
) -> list[tuple[RevisionInfo, DocumentChange]]:
    """Revisions that changed a document, with the change, in the order of `revisions`."""
    return [
        (revision, change)
        for revision in revisions
        for change in revision.changed
        if (change.kind, change.name) == (kind, name) and change.action != "unchanged"
    ]


def history_row(revision: RevisionInfo, change: DocumentChange, now: float) -> TableRow:
    """A revision in the history of one policy."""
    return TableRow(
        str(revision.revision),
        (
            TableCell(str(revision.revision), "strong"),
            TableCell(format_age(now - revision.time)),
            TableCell(change.action, "dim"),
            TableCell(sanitize(revision.message) or NO_VALUE),
            TableCell(sanitize(revision.author), "dim"),
        ),
    )


def revision_row(revision: RevisionInfo, now: float) -> TableRow:
    """A revision in the history of the mesh."""
    return TableRow(
        str(revision.revision),
        (
            TableCell(str(revision.revision), "strong"),
            TableCell(format_age(now - revision.time)),
            _message_cell(revision),
            TableCell(sanitize(", ".join(describe_changes(revision.changed))), "dim"),
            TableCell(sanitize(revision.author), "dim"),
        ),
    )


def _message_cell(revision: RevisionInfo) -> TableCell:
    """The message, led by what its push has made of the revision if that is not the usual."""
    message = sanitize(revision.message) or NO_VALUE
    if revision.withdrawn:
        return TableCell(f"withdrawn: {message}", "bad")
    return TableCell(f"on trial: {message}", "partial") if revision.on_trial else TableCell(message)
