"""The status conditions of each policy, and its `state`: the condition that matters most. Pure.

A condition says what Envoy does with the policy now. `Accepted` is False if the policy has no effect;
`ResolvedRefs` is False if a part of it has none, or another one than its author meant. The state is computed
here and nowhere else; the admin API sends it, clients show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from meshwright.control_plane.api.models.policies import (
    Condition,
    ConditionType,
    ParentStatus,
    PolicyState,
    PolicyStatus,
)
from meshwright.control_plane.api.models.push import NO_PUSH, PushReport
from meshwright.control_plane.api.push_text import push_text
from meshwright.control_plane.core.attachment import conflicts
from meshwright.control_plane.core.world import PolicyDocument, World
from meshwright.control_plane.policies.base import TargetedPolicy
from meshwright.control_plane.policies.certificate.spec import Certificate
from meshwright.control_plane.policies.externalservice.spec import ExternalService
from meshwright.control_plane.policies.gateway.spec import Gateway
from meshwright.control_plane.policies.httproute.parents import RoutePolicy
from meshwright.control_plane.policies.rollout.spec import Rollout
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.status import gateway_status
from meshwright.control_plane.status.acks import AckCount
from meshwright.control_plane.status.certificates import NO_CERTIFICATES, NodeCertificates
from meshwright.control_plane.status.external_conflicts import external_conflicts
from meshwright.control_plane.status.references import GatewayPorts, ReferenceProblem, References, lines
from meshwright.control_plane.status.tcp_conflicts import tcp_conflicts

MAX_MESSAGE_CHARS = 500
"""Characters of Envoy's rejection messages in a condition."""

_STATES: tuple[tuple[ConditionType, str, str, PolicyState], ...] = (
    ("Rejected", "True", "", "rejected"),
    ("Conflicted", "True", "", "conflicted"),
    ("Accepted", "False", "TargetNotFound", "target-not-found"),
    ("Accepted", "False", "NoMatchingParent", "target-not-found"),
    ("Accepted", "False", "", "no-effect"),
    ("ResolvedRefs", "False", "", "partial"),
    ("Programmed", "False", "", "pending"),
    ("Programmed", "Unknown", "", "unused"),
    ("Programmed", "True", "", "programmed"),
)
"""Type, status and reason (empty: any) of a condition, and the state it means; the first one decides."""

NO_PARENTS = ReferenceProblem(
    "NoMatchingParent", "spec.parentRefs: there is none: the route is attached to nothing"
)

NO_GATEWAYS: GatewayPorts = {}


def summarize(conditions: Iterable[Condition]) -> tuple[PolicyState, str]:
    """The state that follows from a policy's conditions, and the message of the one that decides."""
    conditions = tuple(conditions)
    for type_, status, reason, state in _STATES:
        for condition in conditions:
            if (condition.type, condition.status) == (type_, status) and reason in ("", condition.reason):
                return state, "" if state == "programmed" else condition.message
    return "unknown", ""


def policy_statuses(
    world: World,
    ack_counts: Mapping[str, AckCount],
    gateways: GatewayPorts = NO_GATEWAYS,
    certificates: NodeCertificates = NO_CERTIFICATES,
    push: PushReport = NO_PUSH,
) -> tuple[PolicyStatus, ...]:
    """The status of every document of the world. `ack_counts` by `Kind/name`; `gateways` are connected.

    `certificates` is what they report. What the revision on trial changed is not programmed before its push
    has ended, though all who have it yet ACKed it.
    """
    waves = push_text(push.model_dump())
    winners = {**conflicts(world.documents), **tcp_conflicts(world), **external_conflicts(world)}
    references = References(world, gateways, certificates)

    def acks(document: PolicyDocument) -> AckCount:
        count = ack_counts.get(document.ref, AckCount())
        return replace(count, push=waves) if waves and document.generation > push.stable else count

    return tuple(
        _status(references, document, winners.get(document.ref, ""), acks(document))
        for document in world.documents
    )


def reference_warnings(
    world: World, documents: Iterable[PolicyDocument], gateways: GatewayPorts = NO_GATEWAYS
) -> list[str]:
    """What in `documents` does not do what it says; one line each."""
    references = References(world, gateways)
    return [
        f"{document.ref}: {problem.message}"
        for document in documents
        for problem in dict.fromkeys(_warnings(references, document))
    ]


def unresolved(
    world: World, documents: Iterable[PolicyDocument], gateways: GatewayPorts = NO_GATEWAYS
) -> list[tuple[str, str]]:
    """Which of `documents` would not be Accepted, or not ResolvedRefs: `Kind/name`, and why."""
    references = References(world, gateways)
    return [
        (document.ref, condition.message)
        for document in documents
        for condition in _accepted_and_resolved(references, document)
        if condition.status == "False"
    ]


def _warnings(references: References, document: PolicyDocument) -> Iterator[ReferenceProblem]:
    match document.policy:
        case RoutePolicy() as route:
            yield from (problem for problem in _parent_problems(references, route) if problem)
            yield from references.backends(route)
        case Gateway() as gateway:
            yield from gateway_status.listener_problems(gateway, references)
            if references.is_missing_gateway(gateway.name):
                yield ReferenceProblem("NoGateway", f"metadata.name: {gateway_status.pending(AckCount())}")
        case TargetedPolicy() as policy:
            yield from (problem for problem in references.targets(policy) if problem)
            yield from references.callers(policy)
            yield from references.authorities(policy)
            yield from references.ports(policy)
            yield from references.called(policy)
        case Subset() as subset:
            if problem := references.subset(subset):
                yield problem
        case Rollout() as canary:
            attachment, problems = references.rollout(canary)
            yield from ([attachment] if attachment else problems)
        case ExternalService() as external:
            yield from references.callers(external)
            yield from references.via(external)
            yield from references.shadowed(external)


def _status(references: References, document: PolicyDocument, winner: str, acks: AckCount) -> PolicyStatus:
    policy, generation = document.policy, document.generation
    conditions = _observed(generation, _conditions(references, document, winner, acks))
    state, reason = summarize(conditions)
    return PolicyStatus(
        kind=policy.kind,
        name=policy.name,
        generation=generation,
        conditions=conditions,
        affected=acks.holders,
        acked=acks.acked,
        state=state,
        reason=reason,
        parents=tuple(
            parent.model_copy(update={"conditions": _observed(generation, parent.conditions)})
            for parent in (_parents(references, policy) if isinstance(policy, RoutePolicy) else ())
        ),
        listeners=tuple(
            listener.model_copy(update={"conditions": _observed(generation, listener.conditions)})
            for listener in (
                gateway_status.listener_statuses(policy, references, acks)
                if isinstance(policy, Gateway)
                else ()
            )
        ),
    )


def _observed(generation: int, conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """The conditions with the generation of the document that they are about."""
    return tuple(condition.model_copy(update={"observed_generation": generation}) for condition in conditions)


def _conditions(
    references: References, document: PolicyDocument, winner: str, acks: AckCount
) -> Iterator[Condition]:
    """`winner`: the older policy with the same target, "" if there is none."""
    yield from _accepted_and_resolved(references, document)
    if winner:
        message = f"{winner} has the same target, is older, and applies instead"
        yield Condition(type="Conflicted", status="True", reason="OlderPolicy", message=message)
    yield _programmed(document, acks)
    if acks.rejections:
        message = "; ".join(sorted(set(acks.rejections)))[:MAX_MESSAGE_CHARS]
        yield Condition(type="Rejected", status="True", reason="EnvoyRejected", message=message)


def _accepted_and_resolved(references: References, document: PolicyDocument) -> Iterator[Condition]:
    match document.policy:
        case RoutePolicy() as route:
            parents = _parent_problems(references, route)
            yield from _in_part(parents, list(references.backends(route)), always=True)
        case Gateway() as gateway:
            yield gateway_status.accepted(gateway, references)
            problems = gateway_status.listener_problems(gateway, references)
            if problems:
                yield _condition("ResolvedRefs", problems)
        case TargetedPolicy() as policy:
            callers = references.callers(policy)
            if callers and len(callers) == len(policy.spec.from_):
                yield _condition("Accepted", callers)
                return
            yield from _in_part(
                references.targets(policy),
                [
                    *callers,
                    *references.authorities(policy),
                    *references.ports(policy),
                    *references.called(policy),
                    *_inapplicable(policy),
                ],
            )
        case Subset() as subset:
            problem = references.subset(subset)
            yield from _in_part([problem], [])
        case Rollout() as canary:
            attachment, problems = references.rollout(canary)
            yield from _in_part([attachment], problems)
        case ExternalService() as external:
            callers = references.callers(external)
            missing = callers if len(callers) == len(external.spec.from_) else []
            problems = [
                *callers,
                *references.via(external),
                *references.shadowed(external),
                *_certificate_problems(references, external.ref),
            ]
            yield from _in_part([missing[0] if missing else None], problems)
        case Certificate() as certificate:
            yield from _in_part([None], _certificate_problems(references, certificate.ref))
        case _:
            yield Condition(type="Accepted", status="True", reason="Accepted")


def _certificate_problems(references: References, ref: str) -> list[ReferenceProblem]:
    return [
        ReferenceProblem(entry.report.state.capitalize(), entry.text)
        for entry in references.certificates.of(ref)
    ]


def _in_part(
    attachments: list[ReferenceProblem | None], others: list[ReferenceProblem], *, always: bool = False
) -> Iterator[Condition]:
    """Accepted if any attachment has no problem; ResolvedRefs names what has one (`always`: or says so)."""
    failed = [problem for problem in attachments if problem]
    if len(failed) == len(attachments):
        yield _condition("Accepted", failed)
    else:
        yield Condition(type="Accepted", status="True", reason="Accepted")
        others = [*failed, *others]
    if others:
        yield _condition("ResolvedRefs", others)
    elif always:
        yield Condition(type="ResolvedRefs", status="True", reason="ResolvedRefs")


def _condition(type_: ConditionType, problems: list[ReferenceProblem]) -> Condition:
    return Condition(type=type_, status="False", reason=problems[0].reason, message=lines(problems))


def _inapplicable(policy: TargetedPolicy) -> Iterator[ReferenceProblem]:
    """Fields of the spec that have no effect on some target."""
    for index, target in enumerate(policy.spec.target_refs):
        if reason := policy.spec.inapplicable_reason(target):
            yield ReferenceProblem("NoEffect", f"spec.targetRefs[{index}]: {reason}")


def _programmed(document: PolicyDocument, acks: AckCount) -> Condition:
    if acks.push:
        return Condition(type="Programmed", status="False", reason="OnTrial", message=acks.push)
    if not acks.holders:
        is_gateway = isinstance(document.policy, Gateway)
        message = gateway_status.pending(acks) if is_gateway else "no connected sidecar needs it yet"
        return Condition(type="Programmed", status="Unknown", reason="NoSidecar", message=message)
    message = f"accepted by {acks.acked} of {acks.holders} proxies"
    if acks.acked == acks.holders:
        return Condition(type="Programmed", status="True", reason="Programmed", message=message)
    return Condition(type="Programmed", status="False", reason="Pending", message=message)


# --- parents ------------------------------------------------------------------------------------------


def _parent_problems(references: References, route: RoutePolicy) -> list[ReferenceProblem | None]:
    """For each parentRef why the route is not attached there; without parents, that."""
    parents = range(len(route.spec.parent_refs))
    return [references.parent(route, index)[1] for index in parents] or [NO_PARENTS]


def _parents(references: References, route: RoutePolicy) -> tuple[ParentStatus, ...]:
    """The status of a route for each of its parents."""
    backends = list(references.backends(route))
    problems = _parent_problems(references, route)
    return tuple(
        ParentStatus(
            kind=ref.kind,
            name=ref.name,
            section=ref.section_name,
            port=ref.port or 0,
            conditions=tuple(_in_part([problem], backends, always=True)),
        )
        for ref, problem in zip(route.spec.parent_refs, problems, strict=False)
    )
