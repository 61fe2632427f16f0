"""Policies and revisions in words: how each policy stands, what it is for, who changed what. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from control_plane.api import yaml_diff
from control_plane.api.attached import targets
from control_plane.api.messages import Documents
from control_plane.api.types import Change, PolicyStatus, RevisionInfo, Status
from tui import words
from tui.rows import Cell, Column, Row
from tui.words import Said

Document = Mapping[str, Any]

COLUMNS = (
    Column("", 1),
    Column("kind", 15),
    Column("name", 16, grow=True),
    Column("state", 16, rank=1),
    Column("for", 18, grow=True, rank=2),
)
HISTORY = (
    Column("rev", 5, right=True),
    Column("ago", 6, right=True),
    Column("", 8, rank=1),
    Column("why", 16, grow=True),
    Column("who", 18, rank=2),
)
REVISIONS = (
    Column("rev", 5, right=True),
    Column("ago", 6, right=True),
    Column("why", 16, grow=True),
    Column("changes", 22, grow=True, rank=1),
    Column("who", 18, rank=2),
)

UNKNOWN = Said("○", "unknown", "off")
_ORDER = ("bad", "partial", "off", "good")
"""What is bad stands first."""

SHOWN = 4
"""Changes of a revision that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One document and how it stands; `said` in a few words, `lines` all of its conditions."""

    kind: str
    name: str
    document: Document
    said: Said
    lines: tuple[Said, ...] = ()

    @property
    def key(self) -> str:
        """How it is called: `Kind/name`."""
        return f"{self.kind}/{self.name}"

    def holds(self, text: str) -> bool:
        """Whether kind, name, state or target have the text in them."""
        line = f"{self.kind} {self.name} {self.key} {self.said.word} {targets(self.document['spec'])}"
        return all(word in line.lower() for word in text.lower().split())


def standing(status: PolicyStatus | None) -> Said:
    """How a policy stands, its worst condition first."""
    if status is None:
        return UNKNOWN
    held = {one.type: one for one in status.conditions}
    counted = f"{status.acked}/{status.holders}"
    if "Rejected" in held and held["Rejected"].status == "True":
        return Said("✖", f"rejected {counted}", "bad")
    if "Conflicted" in held and held["Conflicted"].status == "True":
        return Said("◐", "conflicted", "partial")
    if "Accepted" in held and held["Accepted"].status != "True":
        reason = {"TargetNotFound": "no target", "NoEffect": "no effect"}
        return Said("◐", reason.get(held["Accepted"].reason, "not accepted"), "partial")
    if not status.holders:
        return Said("○", "not needed", "off")
    if status.acked < status.holders:
        return Said("◐", f"pending {counted}", "partial")
    return Said("●", f"programmed {counted}", "good")


def conditions(status: PolicyStatus | None) -> Iterator[Said]:
    """Every condition as sign and words; Envoy's own words stand behind Rejected."""
    for one in status.conditions if status else ():
        bad = one.type in {"Conflicted", "Rejected"}
        good = (one.status == "True") is not bad
        said = f"{one.type}: {words.clean(one.message)}" if one.message else one.type
        if one.status == "Unknown":
            yield Said("○", said, "off")
        elif good:
            yield Said("●", said, "good")
        else:
            yield Said(
                "✖" if one.type == "Rejected" else "◐", said, "bad" if one.type == "Rejected" else "partial"
            )


def policies(documents: Documents, status: Status | None) -> list[Policy]:
    """Every document with its state; what is bad first, then by kind and name."""
    told = {(one.kind, one.name): one for one in (status.policies if status else ())}
    found = []
    for document in documents.documents:
        kind, name = yaml_diff.key(document)
        one = told.get((kind, name))
        found.append(Policy(kind, name, document, standing(one), tuple(conditions(one))))
    return sorted(found, key=lambda one: (_ORDER.index(one.said.tone), one.kind, one.name))


def row(policy: Policy) -> Row:
    """A policy as a row of the list."""
    bad = policy.said.tone in {"bad", "partial"}
    return Row(
        policy.key,
        (
            Cell(policy.said.sign, policy.said.tone),
            Cell(words.clean(policy.kind)),
            Cell(words.clean(policy.name), "strong" if bad else "plain"),
            Cell(policy.said.word, policy.said.tone),
            Cell(words.clean(targets(policy.document["spec"])), "dim"),
        ),
    )


def counted(found: Sequence[Policy]) -> str:
    """How many policies, and how many are not well."""
    ill = sum(one.said.tone in {"bad", "partial"} for one in found)
    trouble = f", {ill} in trouble" if ill else ""
    return f"{len(found)} {'policy' if len(found) == 1 else 'policies'}{trouble}"


# --- revisions ------------------------------------------------------------------------------------


def touching(revisions: Iterable[RevisionInfo], kind: str, name: str) -> list[tuple[RevisionInfo, Change]]:
    """The revisions that changed a document, as they come, and how each did."""
    return [
        (revision, change)
        for revision in revisions
        for change in revision.changed
        if (change.kind, change.name) == (kind, name) and change.action != "unchanged"
    ]


def history_row(revision: RevisionInfo, change: Change, now: float) -> Row:
    """A revision in the history of one document."""
    return Row(
        str(revision.revision),
        (
            Cell(str(revision.revision), "strong"),
            Cell(words.age(now - revision.time)),
            Cell(change.action, "dim"),
            Cell(words.clean(revision.why) or words.NOTHING),
            Cell(words.clean(revision.author), "dim"),
        ),
    )


def revision_row(revision: RevisionInfo, now: float) -> Row:
    """A revision in the history of the mesh."""
    return Row(
        str(revision.revision),
        (
            Cell(str(revision.revision), "strong"),
            Cell(words.age(now - revision.time)),
            Cell(words.clean(revision.why) or words.NOTHING),
            Cell(words.clean(", ".join(changes(revision.changed))), "dim"),
            Cell(words.clean(revision.author), "dim"),
        ),
    )


def changes(changed: Iterable[Change], most: int = SHOWN) -> list[str]:
    """Changes in words, so many at most."""
    told = [f"{one.action} {one.kind}/{one.name}" for one in changed if one.action != "unchanged"]
    return told if len(told) <= most else [*told[:most], f"{len(told) - most} more"]


def said(revision: RevisionInfo, now: float) -> str:
    """A revision in one line: number, age, who, why."""
    who = words.clean(revision.author) or "nobody named"
    why = words.clean(revision.why) or "no reason given"
    return f"revision {revision.revision} · {words.age(now - revision.time)} ago · {who} · {why}"


def one(documents: Iterable[Document], kind: str, name: str) -> list[Document]:
    """The document of that kind and name, in a list; an empty list when there is none."""
    return [document for document in documents if yaml_diff.key(document) == (kind, name)]
