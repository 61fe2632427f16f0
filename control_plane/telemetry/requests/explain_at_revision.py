"""A request explained by what was in force when it began."""

from __future__ import annotations

from meshwright.control_plane.admin.context import ExplainInput, PolicyRevision
from meshwright.control_plane.api.models.requests import Explanation
from meshwright.control_plane.core.world import PolicyDocument, World
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.explain import explain_request


def explain_at_revision(case: ExplainInput, world: World) -> Explanation | None:
    """Why it failed or was slow; None when nothing is known of it."""
    documents = world.documents
    if case.revision is not None and case.revision.info.revision != world.revision:
        documents = _documents(case.revision)
    law = PolicyAttribution(documents, case.changes, world.services, world.gateways)
    return explain_request(case.id, case.records, case.trace, law, case.now)


def _documents(revision: PolicyRevision) -> tuple[PolicyDocument, ...]:
    """The documents of an old revision; those of a kind that is no more are left out."""
    found = []
    for stored in revision.documents:
        kind = kinds().get(stored.key[0])
        try:
            if kind is not None:
                found.append(PolicyDocument(kind.model_validate(dict(stored.document)), stored.created))
        except ValueError:
            continue
    return tuple(found)
