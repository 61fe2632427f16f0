"""Policies and revisions in words: how each policy stands, what it is for, who changed what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.api.models.base import DocumentChange, PolicyStatus, RevisionInfo, Status
from meshwright.control_plane.api.models.policies import DocumentList
from meshwright.control_plane.api.target_refs import target_summary
from meshwright.control_plane.api.yaml import diff
from meshwright.tui import format
from meshwright.tui.format import StatusLabel
from meshwright.tui.widgets.table_model import TableCell, TableColumn, TableRow

Document = Mapping[str, Any]

POLICY_COLUMNS = (
    TableColumn("", 1),
    TableColumn("kind", 15),
    TableColumn("name", 16, grow=True),
    TableColumn("state", 16, drop_rank=1),
    TableColumn("for", 18, grow=True, drop_rank=2),
)
HISTORY_COLUMNS = (
    TableColumn("rev", 5, right=True),
    TableColumn("ago", 6, right=True),
    TableColumn("", 8, drop_rank=1),
    TableColumn("why", 16, grow=True),
    TableColumn("who", 18, drop_rank=2),
)
REVISION_COLUMNS = (
    TableColumn("rev", 5, right=True),
    TableColumn("ago", 6, right=True),
    TableColumn("why", 16, grow=True),
    TableColumn("changes", 22, grow=True, drop_rank=1),
    TableColumn("who", 18, drop_rank=2),
)

UNKNOWN_STATE = StatusLabel("○", "unknown", "off")
_TONE_ORDER = ("bad", "partial", "off", "good")
"""What is bad stands first."""

CHANGES_SHOWN = 4
"""Changes of a revision that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class PolicyViewModel:
    """One document and how it stands; `said` in a few words, `lines` all of its conditions."""

    kind: str
    name: str
    document: Document
    status: StatusLabel
    conditions: tuple[StatusLabel, ...] = ()

    @property
    def key(self) -> str:
        """How it is called: `Kind/name`."""
        return f"{self.kind}/{self.name}"

    def matches(self, text: str) -> bool:
        """Whether kind, name, state or target have the text in them."""
        line = (
            f"{self.kind} {self.name} {self.key} {self.status.text} {target_summary(self.document['spec'])}"
        )
        return all(word in line.lower() for word in text.lower().split())


def policy_status(status: PolicyStatus | None) -> StatusLabel:
    """How a policy stands, its worst condition first."""
    if status is None:
        return UNKNOWN_STATE
    held = {one.type: one for one in status.conditions}
    counted = f"{status.acked}/{status.affected}"
    if "Rejected" in held and held["Rejected"].status == "True":
        return StatusLabel("✖", f"rejected {counted}", "bad")
    if "Conflicted" in held and held["Conflicted"].status == "True":
        return StatusLabel("◐", "conflicted", "partial")
    if "Accepted" in held and held["Accepted"].status != "True":
        reason = {"TargetNotFound": "no target", "NoEffect": "no effect"}
        return StatusLabel("◐", reason.get(held["Accepted"].reason, "not accepted"), "partial")
    if not status.affected:
        return StatusLabel("○", "not needed", "off")
    if status.acked < status.affected:
        return StatusLabel("◐", f"pending {counted}", "partial")
    return StatusLabel("●", f"programmed {counted}", "good")


def condition_labels(status: PolicyStatus | None) -> Iterator[StatusLabel]:
    """Every condition as sign and words; Envoy's own words stand behind Rejected."""
    for one in status.conditions if status else ():
        bad = one.type in {"Conflicted", "Rejected"}
        good = (one.status == "True") is not bad
        said = f"{one.type}: {format.sanitize(one.message)}" if one.message else one.type
        if one.status == "Unknown":
            yield StatusLabel("○", said, "off")
        elif good:
            yield StatusLabel("●", said, "good")
        else:
            yield StatusLabel(
                "✖" if one.type == "Rejected" else "◐", said, "bad" if one.type == "Rejected" else "partial"
            )


def policy_view_models(documents: DocumentList, status: Status | None) -> list[PolicyViewModel]:
    """Every document with its state; what is bad first, then by kind and name."""
    told = {(one.kind, one.name): one for one in (status.policies if status else ())}
    found = []
    for document in documents.documents:
        kind, name = diff.document_key(document)
        one = told.get((kind, name))
        found.append(PolicyViewModel(kind, name, document, policy_status(one), tuple(condition_labels(one))))
    return sorted(found, key=lambda one: (_TONE_ORDER.index(one.status.tone), one.kind, one.name))


def policy_row(policy: PolicyViewModel) -> TableRow:
    """A policy as a row of the list."""
    bad = policy.status.tone in {"bad", "partial"}
    return TableRow(
        policy.key,
        (
            TableCell(policy.status.symbol, policy.status.tone),
            TableCell(format.sanitize(policy.kind)),
            TableCell(format.sanitize(policy.name), "strong" if bad else "plain"),
            TableCell(policy.status.text, policy.status.tone),
            TableCell(format.sanitize(target_summary(policy.document["spec"])), "dim"),
        ),
    )


def policy_count(found: Sequence[PolicyViewModel]) -> str:
    """How many policies, and how many are not well."""
    ill = sum(one.status.tone in {"bad", "partial"} for one in found)
    trouble = f", {ill} in trouble" if ill else ""
    return f"{len(found)} {'policy' if len(found) == 1 else 'policies'}{trouble}"


# --- revisions ------------------------------------------------------------------------------------


def revisions_of(
    revisions: Iterable[RevisionInfo], kind: str, name: str
) -> list[tuple[RevisionInfo, DocumentChange]]:
    """The revisions that changed a document, as they come, and how each did."""
    return [
        (revision, change)
        for revision in revisions
        for change in revision.changed
        if (change.kind, change.name) == (kind, name) and change.action != "unchanged"
    ]


def history_row(revision: RevisionInfo, change: DocumentChange, now: float) -> TableRow:
    """A revision in the history of one document."""
    return TableRow(
        str(revision.revision),
        (
            TableCell(str(revision.revision), "strong"),
            TableCell(format.format_age(now - revision.time)),
            TableCell(change.action, "dim"),
            TableCell(format.sanitize(revision.message) or format.NO_VALUE),
            TableCell(format.sanitize(revision.author), "dim"),
        ),
    )


def revision_row(revision: RevisionInfo, now: float) -> TableRow:
    """A revision in the history of the mesh."""
    return TableRow(
        str(revision.revision),
        (
            TableCell(str(revision.revision), "strong"),
            TableCell(format.format_age(now - revision.time)),
            TableCell(format.sanitize(revision.message) or format.NO_VALUE),
            TableCell(format.sanitize(", ".join(describe_changes(revision.changed))), "dim"),
            TableCell(format.sanitize(revision.author), "dim"),
        ),
    )


def describe_changes(changed: Iterable[DocumentChange], most: int = CHANGES_SHOWN) -> list[str]:
    """Changes in words, so many at most."""
    told = [f"{one.action} {one.kind}/{one.name}" for one in changed if one.action != "unchanged"]
    return told if len(told) <= most else [*told[:most], f"{len(told) - most} more"]


def revision_summary(revision: RevisionInfo, now: float) -> str:
    """A revision in one line: number, age, who, why."""
    who = format.sanitize(revision.author) or "nobody named"
    why = format.sanitize(revision.message) or "no reason given"
    return f"revision {revision.revision} · {format.format_age(now - revision.time)} ago · {who} · {why}"


def find_document(documents: Iterable[Document], kind: str, name: str) -> list[Document]:
    """The document of that kind and name, in a list; an empty list when there is none."""
    return [document for document in documents if diff.document_key(document) == (kind, name)]
