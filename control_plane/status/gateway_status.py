"""The status of a Gateway: its conditions and those of each listener, as the Gateway API words them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from meshwright.control_plane.api.models.policies import Condition, ListenerStatus
from meshwright.control_plane.core.listeners import (
    attach,
    port_conflict,
    served,
    supported_kinds,
    unsupported_kinds,
)
from meshwright.control_plane.policies.gateway.spec import SERVED_PROTOCOLS, Gateway, Listener
from meshwright.control_plane.status.acks import AckCount
from meshwright.control_plane.status.references import ReferenceProblem, References


def listener_statuses(gateway: Gateway, references: References, acks: AckCount) -> tuple[ListenerStatus, ...]:
    """The status of every listener of a Gateway."""
    return tuple(
        ListenerStatus(
            name=listener.name,
            port=listener.port,
            bound_port=references.bound_port(gateway.name, listener.name).port or listener.port,
            protocol=listener.protocol,
            hostname=listener.hostname,
            supported_kinds=supported_kinds(listener),
            attached_routes=_attached_routes(gateway, listener, references),
            conditions=tuple(_conditions(gateway, listener, references, acks)),
        )
        for listener in gateway.spec.listeners
    )


def listener_problems(gateway: Gateway, references: References) -> list[ReferenceProblem]:
    """What is wrong with the listeners of a Gateway; the field comes first."""
    problems = []
    for index, listener in enumerate(gateway.spec.listeners):
        path = f"spec.listeners[{index}]"
        invalid = _invalid(gateway, listener)
        if invalid is not None:
            field = "protocol" if invalid.reason == "UnsupportedProtocol" else "port"
            problems.append(ReferenceProblem(invalid.reason, f"{path}.{field}: {invalid.message}"))
        if kinds := unsupported_kinds(listener):
            message = f"{path}.allowedRoutes.kinds: {_invalid_kinds(listener, kinds)}"
            problems.append(ReferenceProblem("InvalidRouteKinds", message))
        problems += [
            ReferenceProblem(problem.reason, f"{path}.{problem.field}: {problem.message}")
            for problem in references.certificates.problems(gateway, listener)
        ]
        bound = references.bound_port(gateway.name, listener.name)
        if invalid is None and not bound.option and bound.port not in (0, listener.port):
            message = (
                f"{path}.port: listener {listener.name} listens on port {bound.port}, as the gateway was "
                f"started, not on {listener.port}: give both the same port, or the listener another name"
            )
            problems.append(ReferenceProblem("PortDiffers", message))
    return problems


def _invalid(gateway: Gateway, listener: Listener) -> ReferenceProblem | None:
    """Why Envoy does not open the listener."""
    if listener.protocol not in SERVED_PROTOCOLS:
        supported = " or ".join(SERVED_PROTOCOLS)
        message = f"nothing listens for {listener.protocol}: use {supported}"
        return ReferenceProblem("UnsupportedProtocol", message)
    conflict = port_conflict(listener, gateway.spec.listeners)
    if conflict is None:
        return None
    names = ", ".join(conflict.names)
    cause = "their protocols cannot share it"
    if conflict.reason == "HostnameConflict":
        cause = f"for {listener.hostname or 'every host'} as well"
    message = f"port {listener.port} is also that of {names}, {cause}: none is opened"
    return ReferenceProblem(conflict.reason, message)


def _invalid_kinds(listener: Listener, kinds: tuple[str, ...]) -> str:
    return f"a listener of protocol {listener.protocol} cannot accept {', '.join(kinds)}: leave it out"


def _chosen_port(gateway: Gateway, listener: Listener, references: References) -> str:
    """The port of a listener that its operator chose, and by what; empty if it is the Gateway's."""
    bound = references.bound_port(gateway.name, listener.name)
    return f"port {bound.port} by {bound.option}" if bound.option and bound.port != listener.port else ""


def _attached_routes(gateway: Gateway, listener: Listener, references: References) -> int:
    """The routes that are attached to the listener."""
    return sum(
        any(
            item is listener
            for ref in route.spec.parent_refs
            if (ref.kind, ref.name) == ("Gateway", gateway.name)
            for item, _ in attach(route, ref, gateway.spec.listeners).listeners
        )
        for route in references.routes_to(gateway.name)
    )


def _conditions(
    gateway: Gateway, listener: Listener, references: References, acks: AckCount
) -> Iterator[Condition]:
    invalid = _invalid(gateway, listener)
    if invalid is None:
        message = _chosen_port(gateway, listener, references)
        yield Condition(type="Accepted", status="True", reason="Accepted", message=message)
    else:
        yield Condition(type="Accepted", status="False", reason=invalid.reason, message=invalid.message)
    if invalid is not None and invalid.reason in ("ProtocolConflict", "HostnameConflict"):
        yield Condition(type="Conflicted", status="True", reason=invalid.reason, message=invalid.message)
    else:
        yield Condition(type="Conflicted", status="False", reason="NoConflicts")
    certificates = references.certificates.problems(gateway, listener)
    if kinds := unsupported_kinds(listener):
        message = _invalid_kinds(listener, kinds)
        yield Condition(type="ResolvedRefs", status="False", reason="InvalidRouteKinds", message=message)
    elif certificates:
        message = "; ".join(f"{problem.field}: {problem.message}" for problem in certificates)
        yield Condition(type="ResolvedRefs", status="False", reason=certificates[0].reason, message=message)
    else:
        yield Condition(type="ResolvedRefs", status="True", reason="ResolvedRefs")
    if invalid is None and not references.certificates.is_usable(gateway, listener):
        message = "; ".join(problem.message for problem in certificates)
        invalid = ReferenceProblem("Invalid", message)
    yield _programmed(invalid, acks)


def _programmed(invalid: ReferenceProblem | None, acks: AckCount) -> Condition:
    if invalid is not None:
        return Condition(type="Programmed", status="False", reason="Invalid", message=invalid.message)
    if acks.holders and acks.acked == acks.holders:
        return Condition(type="Programmed", status="True", reason="Programmed")
    return Condition(type="Programmed", status="Unknown", reason="Pending", message=pending(acks))


def pending(acks: AckCount) -> str:
    """Why it is not known that the gateway's proxies have the listeners."""
    if not acks.holders:
        return "no gateway of this name is connected: name one in the application file's gateways"
    return f"accepted by {acks.acked} of {acks.holders} proxies"


def accepted(gateway: Gateway, references: References) -> Condition:
    """Whether any listener of the Gateway is valid; says which ports an option of its operator replaced."""
    valid = served(gateway.spec.listeners)
    if len(valid) == len(gateway.spec.listeners):
        message = "; ".join(filter(None, (_chosen_port(gateway, item, references) for item in valid)))
        return Condition(type="Accepted", status="True", reason="Accepted", message=message)
    invalid = [listener.name for listener in gateway.spec.listeners if listener not in valid]
    message = f"not opened: {', '.join(invalid)}"
    status = "True" if valid else "False"
    return Condition.model_validate(
        {"type": "Accepted", "status": status, "reason": "ListenersNotValid", "message": message}
    )
