"""A request explained by what was in force when it began."""

from __future__ import annotations

from control_plane.admin.mesh import Case, Revision
from control_plane.api.requested import Why
from control_plane.core.world import Document, World
from control_plane.policies.registry import kinds
from control_plane.telemetry.blame import Law
from control_plane.telemetry.why import why


def explain(case: Case, world: World) -> Why | None:
    """Why it failed or was slow; None when nothing is known of it."""
    documents = world.documents
    if case.revision is not None and case.revision.info.revision != world.revision:
        documents = _documents(case.revision)
    law = Law(documents, case.changes, world.services, world.gateways)
    return why(case.id, case.records, case.trace, law, case.now)


def _documents(revision: Revision) -> tuple[Document, ...]:
    """The documents of an old revision; those of a kind that is no more are left out."""
    found = []
    for stored in revision.documents:
        kind = kinds().get(stored.key[0])
        try:
            if kind is not None:
                found.append(Document(kind.model_validate(dict(stored.document)), stored.created))
        except ValueError:
            continue
    return tuple(found)
