"""One policy in detail: its conditions, those of a route's parents, those of a Gateway's listeners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshwright.cli.output import Level, sanitize, status_text
from meshwright.control_plane.errors import NotFoundError

NEGATIVE_CONDITIONS = frozenset({"Conflicted", "Rejected"})
"""Conditions that are good when they are False."""


def find_policy(mesh: Mapping[str, Any], ref: str) -> Mapping[str, Any]:
    """The policy `KIND/NAME`, its kind in any case; raises NotFoundError."""
    kind, _, name = ref.partition("/")
    kinds = (kind.lower(), kind.lower().removesuffix("s"))
    for policy in mesh["policies"]:
        if policy["kind"].lower() in kinds and policy["name"] == name:
            return dict(policy)
    from meshwright.control_plane.policies.validation_messages import suggestion

    refs = (f"{policy['kind']}/{policy['name']}" for policy in mesh["policies"])
    advice = suggestion(ref, refs, "see `mesh get`, and write KIND/NAME")
    raise NotFoundError(f"no such policy: {ref}: {advice}")


def policy_lines(policy: Mapping[str, Any], state: str) -> Iterator[str]:
    """The lines that describe a policy; `state` is its state in words."""
    yield f"{policy['kind']}/{policy['name']}   {state}   {_since(policy)}".rstrip()
    yield from _conditions(policy["conditions"])
    for parent in policy.get("parents", ()):
        yield ""
        yield sanitize(f"parent {_parent(parent)}")
        yield from _conditions(parent["conditions"])
    for listener in policy.get("listeners", ()):
        yield ""
        yield sanitize(_listener(listener))
        yield from _conditions(listener["conditions"])


def _since(policy: Mapping[str, Any]) -> str:
    """The revision that the conditions are about."""
    generation = policy.get("generation", 0)
    return f"last changed by revision {generation}" if generation else ""


def _parent(parent: Mapping[str, Any]) -> str:
    section = f", section {parent['section']}" if parent["section"] else ""
    port = f", port {parent['port']}" if parent["port"] else ""
    return f"{parent['kind']}/{parent['name']}{section}{port}"


def _listener(listener: Mapping[str, Any]) -> str:
    host = listener["hostname"] or "*"
    port = str(listener["port"])
    if listener["bound_port"] != listener["port"]:
        port += f" (bound to {listener['bound_port']})"
    kinds = ", ".join(listener["supported_kinds"]) or "no kinds of routes"
    routes = listener["attached_routes"]
    return (
        f"listener {listener['name']}   {listener['protocol']} {host}:{port}   "
        f"{routes} {'route' if routes == 1 else 'routes'} attached   accepts {kinds}"
    )


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for condition in conditions:
        message = f": {condition['message']}" if condition["message"] else ""
        text = f"{condition['type']} {condition['status']} ({condition['reason']}){message}"
        yield f"  {status_text(condition_level(condition), sanitize(text))}"


def condition_level(condition: Mapping[str, Any]) -> Level:
    """How good a condition is."""
    good = "False" if condition["type"] in NEGATIVE_CONDITIONS else "True"
    if condition["status"] == good:
        return "good"
    if condition["status"] == "Unknown":
        return "off"
    return "bad" if condition["type"] in {"Accepted", "Rejected"} else "partial"
