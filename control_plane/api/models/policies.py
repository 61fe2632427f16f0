"""Policy documents: how they are applied, their status, and which of them are in force for a service."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import ConfigDict, Field

from meshwright.control_plane.api.models.base import ApiModel, StrictModel
from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.api.models.revisions import DocumentChange

DOCUMENTS_LIMIT = 10_000
"""Documents in one request."""

PolicyState = Literal[
    "rejected",
    "conflicted",
    "target-not-found",
    "no-effect",
    "partial",
    "pending",
    "unused",
    "programmed",
    "unknown",
]
"""The conditions of a policy as one word, the worst first.

`rejected`: an Envoy NACKed a resource that the policy shaped. `conflicted`: an older policy has the same
target. `target-not-found`, `no-effect`: not accepted, so the policy does nothing. `partial`: in force, but a
part of it refers to something that does not exist or has no effect. `pending`: accepted, but not every proxy
has ACKed it. `unused`: accepted, but no connected proxy needs it. `programmed`: ACKed by every proxy
that needs it. `unknown`: an older control plane did not send a state.
"""

POLICY_STATES: tuple[PolicyState, ...] = get_args(PolicyState)

AttachmentLevelName = Literal["mesh", "gateway", "listener", "service", "route", "rule"]
"""How specific a policy's target is, the least specific first."""


# --- requests ---------------------------------------------------------------------------------------


class DocumentInput(StrictModel):
    """A policy document and its location in the user's files: `path:line`, empty if unknown."""

    document: dict[str, Any]
    source: str = Field("", max_length=4096)


class PolicyRef(StrictModel):
    """Names one document."""

    kind: str = Field(max_length=63)
    name: str = Field(max_length=253)


VERIFY: bool = Field(True, description="First ask an Envoy whether it accepts the new configuration.")


class EditRequest(StrictModel):
    """Fields of every change. `base`: the revision the change was made from; null: the current one."""

    base: int | None = Field(
        None,
        ge=0,
        le=2**53,
        strict=True,
        description="Fail with a conflict unless this is the newest revision.",
    )
    message: str = Field("", max_length=1000, description="Reason for the change, shown in the history.")
    author: str = Field("", max_length=200, description="Author of the change, shown in the history.")
    dry_run: bool = Field(False, description="Validate and preview without changing anything.")
    verify: bool = VERIFY
    immediate: bool = Field(False, description="Push it to all proxies at once, not in waves.")


class ApplyRequest(EditRequest):
    documents: tuple[DocumentInput, ...] = Field(max_length=DOCUMENTS_LIMIT)
    prune: dict[str, str] = Field(
        default_factory=dict,
        max_length=64,
        description="Delete the other documents that have all of these labels. Empty: none.",
    )
    prune_all: bool = Field(False, description="Delete all other documents, which needs `base`.")
    strict: bool = Field(
        False,
        description="Apply nothing if a document would not be Accepted, or a reference not resolve.",
    )


class DeleteRequest(EditRequest):
    refs: tuple[PolicyRef, ...] = Field(max_length=DOCUMENTS_LIMIT)


class RollbackRequest(EditRequest):
    pass


class DiffRequest(StrictModel):
    documents: tuple[DocumentInput, ...] = Field(max_length=DOCUMENTS_LIMIT)
    verify: bool = VERIFY


# --- responses --------------------------------------------------------------------------------------


class ApplyResult(ApiModel):
    """The revision after a change, and what the change did."""

    revision: int
    changed: tuple[DocumentChange, ...] = ()


class ApplyResponse(ApplyResult):
    """`warnings`: documents that were applied but have no effect yet, such as a missing target."""

    warnings: tuple[str, ...] = ()
    on_trial: bool = Field(False, description="It reaches the proxies in waves: see `GET /push`.")
    document_diff: str = Field("", description="Dry run only: the change as a unified diff of YAML.")
    affected_proxies: tuple[str, ...] = Field(
        (), description="Dry run only: connected proxies whose configuration the change alters."
    )


class FieldChange(ApiModel):
    """A field whose value differs. Both values are one line of text, shortened if they are long."""

    field: str = Field(description="Such as `spec.rules[0].timeouts.request`.")
    before: str = Field("", description="Empty: the field is added.")
    after: str = Field("", description="Empty: the field is removed.")


class PlannedChange(DocumentChange):
    """What an apply would do to one document, field by field if it changes."""

    fields: tuple[FieldChange, ...] = Field((), description="The first of them, without secrets.")
    more_fields: int = Field(0, description="How many other fields differ.")


class ChangeImpact(ApiModel):
    """The connected proxies whose configuration a change alters, and what they carry now."""

    proxies: tuple[str, ...] = Field((), description="Their names, by service.")
    services: tuple[str, ...] = Field((), description="The services and gateways that they belong to.")
    rps: float = Field(
        0.0,
        description="Requests and TCP connections per second that these services and gateways send or "
        "receive, each counted once.",
    )
    failures_per_s: float = Field(0.0, description="How many of them failed, as in the topology.")
    window: float = Field(10.0, description="Seconds over which rates are measured.")
    open_streams: int = Field(
        0,
        description="Requests and responses in progress at these proxies a moment ago, WebSockets and gRPC "
        "streams included. One between two of them counts at both.",
    )


class DiffResponse(ApiModel):
    """What an apply would change: unified diffs of the documents' and of the Envoy resources' YAML."""

    revision: int
    impact: ChangeImpact = ChangeImpact()
    changed: tuple[PlannedChange, ...] = ()
    document_diff: str = ""
    resource_diff: str = ""
    warnings: tuple[str, ...] = ()
    findings: tuple[LintFinding, ...] = Field((), description="What lint finds then and does not find now.")


class DocumentList(ApiModel):
    """Documents of one revision, in a form that can be applied again."""

    revision: int
    documents: tuple[dict[str, Any], ...] = ()


# --- status -----------------------------------------------------------------------------------------


ConditionType = Literal["Accepted", "ResolvedRefs", "Conflicted", "Programmed", "Rejected"]


class Condition(ApiModel):
    """A status condition, as in the Gateway API; messages begin with the field that is the cause.

    `observed_generation` is the generation of the document that it is about.
    """

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int = 0


class ParentStatus(ApiModel):
    """The conditions of a route for one of its parentRefs; `port` is 0 if that names none."""

    kind: str
    name: str
    section: str = ""
    port: int = 0
    conditions: tuple[Condition, ...] = ()


class ListenerStatus(ApiModel):
    """A listener of a Gateway. `bound_port` is where its node listens, `port` what the document says."""

    name: str
    port: int
    bound_port: int
    protocol: str
    hostname: str = ""
    supported_kinds: tuple[str, ...] = ()
    attached_routes: int = 0
    conditions: tuple[Condition, ...] = ()


class PolicyStatus(ApiModel):
    """The status of one policy. `parents` are those of a route, `listeners` those of a Gateway.

    `generation`: the revision that changed the document last. `affected`: connected proxies with a resource
    that the policy shaped; `acked` of them have ACKed all such resources. `reason`: one line about `state`,
    from the condition that decided it; empty if programmed.
    """

    kind: str
    name: str
    generation: int = 0
    conditions: tuple[Condition, ...] = ()
    affected: int = 0
    acked: int = 0
    state: PolicyState = "unknown"
    reason: str = ""
    parents: tuple[ParentStatus, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()


class AttachedPolicy(ApiModel):
    """A policy that targets a service or gateway, directly or through a route or the mesh."""

    kind: str
    name: str
    level: AttachmentLevelName = Field(
        description="How specific the target is; for an overriding kind the most specific policy applies."
    )
    target: str = Field(description="The target that matched, e.g. `Service/inventory`, or `Mesh`.")
    section: str = Field("", description="The target's rule or listener, if the policy names one.")
    from_: tuple[str, ...] = Field(
        (), alias="from", description="The calling services it is limited to; empty: all."
    )
    in_force: bool = Field(description="Whether it applies; false: another policy overrides it.")
    overridden_by: str = Field("", description="`Kind/name` of the policy that overrides it.")
    state: PolicyState = "unknown"

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class ServicePolicies(ApiModel):
    """Policies that target a service or gateway, or one edge to it if `from` is set; those in force first."""

    service: str
    from_: str = Field("", alias="from", description="The calling service or gateway; empty: every caller.")
    policies: tuple[AttachedPolicy, ...] = ()

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
