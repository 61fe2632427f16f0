"""`mesh status`: the state of services, sidecars and policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level, colorize, echo, print_data, print_table, sanitize, status_text
from meshwright.cli.policy_status import condition_level, find_policy, policy_lines
from meshwright.control_plane.api import calls

PROXY_LEVELS: dict[str, Level] = {
    "synced": "good",
    "pending": "partial",
    "rejected": "bad",
    "disconnected": "off",
}

BREAKER_LEVELS: dict[str, Level] = {"closed": "good", "partial": "partial", "open": "bad"}

POLICY_LEVELS: dict[str, Level] = {
    "rejected": "bad",
    "conflicted": "partial",
    "target-not-found": "partial",
    "no-effect": "partial",
    "partial": "partial",
    "pending": "partial",
    "unused": "off",
    "unknown": "off",
    "programmed": "good",
}

_COUNTED_STATES = frozenset({"rejected", "pending", "programmed"})
"""Policy states that are shown with the number of sidecars that ACKed."""


def status(
    policy: Annotated[
        str, typer.Argument(metavar="KIND/NAME", help="Show one policy in detail. [default: the mesh]")
    ] = "",
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show the state of services, sidecars, policies, open circuit breakers and control planes.

    For one policy: its conditions, those of a route for each parent and of a Gateway for each listener.

    \b
    Symbols: ● good · ◐ partial or pending · ✖ failing · ○ off

    \b
    Example:
      mesh status
      mesh status gateway/ingress
      mesh status -o json
    """
    mesh = call_api(calls.status(), state)
    if policy:
        found = find_policy(mesh, policy)
        if output is not Output.table:
            print_data(found, output)
            return
        for line in policy_lines(found, policy_state(found)):
            echo(colorize(line))
        return
    if output is not Output.table:
        print_data(mesh, output)
        return
    store: Level = "good" if mesh["store"] == "ok" else "partial"
    echo(colorize(f"revision {mesh['revision']}   store {status_text(store, mesh['store'])}"))
    for problem in mesh.get("problems", ()):
        echo(colorize(sanitize(status_text("bad", problem))))
    _print_sections(mesh)


def _print_sections(mesh: Mapping[str, Any]) -> None:
    """One table for each kind of object that the mesh has."""
    control_planes = mesh.get("control_planes", ())
    _section(
        ("CONTROL PLANE", "ADMIN API", "STATE"),
        [(plane["address"], plane["admin"], _control_plane(plane)) for plane in control_planes],
    )
    _section(("SERVICE", "HEALTHY"), [(s["name"], _service(s)) for s in mesh["services"]])
    _section(
        ("PROXY", "SERVICE", "STATE", "REVISION", "ERROR"),
        [(p["name"], p["service"], _proxy(p), str(p["revision"]), p["error"]) for p in mesh["proxies"]],
    )
    tripped = [breaker for breaker in mesh["breakers"] if breaker["state"] != "closed"]
    _section(("FROM", "TO", "BREAKER"), [(b["from"], b["to"], _breaker(b)) for b in tripped])
    _section(
        ("POLICY", "STATE", "CONDITIONS"),
        [
            (f"{p['kind']}/{p['name']}", policy_state(p), _conditions(p["conditions"]))
            for p in mesh["policies"]
        ],
    )


def _section(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        echo("")
        print_table(header, rows)


def _control_plane(plane: Mapping[str, Any]) -> str:
    """Whether another control plane is reachable. Data of an unreachable one is missing everywhere."""
    if plane["state"] != "unreachable":
        return status_text("good", "this one" if plane["state"] == "this" else "reachable")
    return status_text("bad", f"unreachable for {plane['unreachable_seconds']:.0f} s ({plane['error']})")


def _service(service: Mapping[str, Any]) -> str:
    healthy, instances = service["healthy"], service["instances"]
    level: Level = "off" if not instances else "bad" if not healthy else "partial"
    return status_text("good" if instances and healthy == instances else level, f"{healthy}/{instances}")


def _proxy(proxy: Mapping[str, Any]) -> str:
    return status_text(PROXY_LEVELS.get(proxy["state"], "partial"), proxy["state"])


def _breaker(breaker: Mapping[str, Any]) -> str:
    """The state of a circuit breaker with its reasons."""
    reasons = [f"{breaker['ejected']} of {breaker['hosts']} instances ejected"] if breaker["ejected"] else []
    reasons += ["limit reached"] if breaker["limited"] else []
    state = breaker["state"]
    return status_text(BREAKER_LEVELS.get(state, "bad"), f"{state} ({', '.join(reasons)})")


def policy_state(policy: Mapping[str, Any]) -> str:
    """The state that the control plane computed for a policy, with how many sidecars ACKed it."""
    state = policy["state"]
    count = f" {policy['acked']}/{policy['affected']}" if state in _COUNTED_STATES else ""
    return status_text(POLICY_LEVELS.get(state, "off"), state.replace("-", " ") + count)


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> str:
    return "   ".join(_condition(condition) for condition in conditions) or status_text("off", "none yet")


def _condition(condition: Mapping[str, Any]) -> str:
    """A condition as sign and type, with its message or, if it is not good, its reason."""
    level = condition_level(condition)
    negation = {"True": "", "False": "not ", "Unknown": "not yet "}[condition["status"]]
    detail = condition["message"] or ("" if level == "good" else condition["reason"])
    return status_text(level, f"{negation}{condition['type']}" + (f" ({detail})" if detail else ""))
