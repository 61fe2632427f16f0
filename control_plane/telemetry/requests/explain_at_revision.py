"""Explains a request by the policies that were in effect when it started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from meshwright.control_plane.api.models.requests import Cause, Explanation, Request
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.traces import Trace
from meshwright.control_plane.core.revision import PolicyRevision
from meshwright.control_plane.core.world import PolicyDocument, World
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.explain import explain_request

UNREACHABLE_FLAGS = ("UH", "UF")
"""Response flags of a request for which no instance was healthy, or that could not connect to one."""

MAX_INSTANCES = 10
"""Instances of one cause."""


class RequestEvidence(Protocol):
    """What is known about a request: log records, spans, the revision in effect then and all changes.

    `revision` is None and `changes` are empty if the store is unavailable. `now` is in epoch seconds.
    """

    @property
    def id(self) -> str: ...
    @property
    def records(self) -> Sequence[Request]: ...
    @property
    def trace(self) -> Trace | None: ...
    @property
    def revision(self) -> PolicyRevision | None: ...
    @property
    def changes(self) -> Sequence[RevisionInfo]: ...
    @property
    def now(self) -> float: ...


def explain_at_revision(evidence: RequestEvidence, world: World) -> Explanation | None:
    """Why the request failed or was slow; None if there are neither records nor spans."""
    documents = world.documents
    revision = evidence.revision
    if revision is not None and revision.info.revision != world.revision:
        documents = _documents(revision)
    policies = PolicyAttribution(
        documents, evidence.changes, world.services, world.gateways, domains=world.domains
    )
    explanation = explain_request(evidence.id, evidence.records, evidence.trace, policies, evidence.now)
    if explanation is None:
        return None
    causes = tuple(_with_instances(cause, world) for cause in explanation.causes)
    return explanation.model_copy(update={"causes": causes})


def _with_instances(cause: Cause, world: World) -> Cause:
    """The cause with what is known of the instances, where none could be reached."""
    service = world.services.get(cause.callee or cause.service)
    if cause.flag not in UNREACHABLE_FLAGS or service is None:
        return cause
    unhealthy = [item for item in service.instances if item.health == "unhealthy"]
    sentences = [f"{item.name} is unhealthy now{item.reason and f': {item.reason}'}" for item in unhealthy]
    return cause.model_copy(update={"instances": tuple(sentences[:MAX_INSTANCES])})


def _documents(revision: PolicyRevision) -> tuple[PolicyDocument, ...]:
    """The documents of an old revision, without those that this version no longer accepts."""
    documents = []
    for stored in revision.documents:
        kind = kinds().get(stored.key[0])
        try:
            if kind is not None:
                documents.append(PolicyDocument(kind.model_validate(dict(stored.document)), stored.created))
        except ValueError:
            continue
    return tuple(documents)
