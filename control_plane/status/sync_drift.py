"""Where the mesh differs from what a `mesh sync` made of it: somebody else changed its policies. Pure.

The history has all that is needed, so the status says it even while no sync runs. A sync is over when its
policies are deleted or belong to another one, or when a revision's message says so. If they are in the mesh
and have all lost the label, somebody applied them by other means, which is a problem.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.verdict import MeshProblem
from meshwright.control_plane.api.sync_marks import ENDED, label, sync_in, synced_version, without_label
from meshwright.control_plane.core.revision import CanonicalDocument
from meshwright.control_plane.policies.rollout.progress import PREFIX

MAX_NAMED = 3
"""Policies that a problem names."""

Documents = Mapping[str, CanonicalDocument]
"""By `Kind/name`."""


@dataclass(frozen=True, slots=True)
class LastSync:
    """The last revision in force that a sync made, and of which version."""

    name: str
    version: str
    info: RevisionInfo


def last_syncs(changes: Sequence[RevisionInfo], documents: Documents) -> tuple[LastSync, ...]:
    """The last revision of each sync that has a label in `documents`, or else has not ended.

    `changes` are newest first.
    """
    settled = [info for info in changes if not info.on_trial and not info.withdrawn]
    labels = {name for document in documents.values() if (name := label(document))}
    names = sorted(labels | {name for info in settled if (name := sync_in(info.message))})
    syncs = (_last(name, settled) for name in names)
    return tuple(each for each in syncs if each is not None)


def drift(
    sync: LastSync, synced: Documents, current: Documents, changes: Sequence[RevisionInfo]
) -> MeshProblem | None:
    """What differs from the documents of a sync's last revision, and who changed it last."""
    before, after = _of_sync(synced, sync.name), _of_sync(current, sync.name)
    if before and not after:
        return _loss(sync, without_label(sync.name, synced, current), changes)
    actions = dict(_differences(before, after, current))
    if not actions:
        return None
    names = [f"{ref} {action}" for ref, action in sorted(actions.items())]
    count = f"{len(names)} {'policy differs' if len(names) == 1 else 'policies differ'}"
    return _problem(sync, f"{count} from version {sync.version}", names, _last_change(actions, sync, changes))


def _loss(sync: LastSync, refs: list[str], changes: Sequence[RevisionInfo]) -> MeshProblem | None:
    if not refs:
        return None
    subject = f"no policy has the label of the sync any more, of version {sync.version}"
    return _problem(sync, subject, refs, _last_change(refs, sync, changes))


def _problem(sync: LastSync, statement: str, names: list[str], cause: str) -> MeshProblem:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return MeshProblem(
        severity="warning",
        kind="policy",
        subject=f"sync {sync.name}",
        message=f"{statement}, revision {sync.info.revision}: {', '.join(names[:MAX_NAMED])}{more}",
        cause=cause,
    )


def _last(name: str, changes: Sequence[RevisionInfo]) -> LastSync | None:
    for info in changes:
        if version := synced_version(info.message, name):
            return LastSync(name, version, info) if version != ENDED else None
    return None


def _of_sync(documents: Documents, name: str) -> Documents:
    return {ref: document for ref, document in documents.items() if label(document) == name}


def _differences(before: Documents, after: Documents, current: Documents) -> Iterator[tuple[str, str]]:
    for ref in before.keys() | after.keys():
        if ref not in before:
            yield ref, "created"
        elif ref not in current:
            yield ref, "deleted"
        elif _as_applied(current[ref]) != _as_applied(before[ref]):
            yield ref, "changed"


def _as_applied(document: CanonicalDocument) -> CanonicalDocument:
    """A document without the progress of a rollout, which the control plane writes."""
    metadata = document["metadata"]
    annotations = metadata.get("annotations", {}).items()
    others = {name: value for name, value in annotations if not name.startswith(PREFIX)}
    return {**document, "metadata": {**metadata, "annotations": others}}


def _last_change(refs: Container[str], sync: LastSync, changes: Sequence[RevisionInfo]) -> str:
    for info in changes:
        if info.revision > sync.info.revision and any(
            f"{each.kind}/{each.name}" in refs for each in info.changed
        ):
            return f"revision {info.revision}, by {info.author}"
    return ""
