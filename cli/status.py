"""`mesh status`: the state of services, sidecars and policies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from meshwright.cli.durations import format_clock, format_duration
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level, colorize, echo, print_data, print_table, sanitize, status_text
from meshwright.cli.policy_status import condition_level, find_policy, policy_lines
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.api.problem_text import problem_text, proxy_message, verdict_line
from meshwright.control_plane.api.push_text import push_text
from meshwright.control_plane.api.version_skew import worst_skew

PROXY_LEVELS: dict[str, Level] = {
    "synced": "good",
    "pending": "partial",
    "rejected": "bad",
    "disconnected": "off",
}

HEALTH_LEVELS: dict[str, Level] = {
    "healthy": "good",
    "degraded": "partial",
    "unhealthy": "bad",
    "unknown": "off",
    "idle": "off",
}

BREAKER_LEVELS: dict[str, Level] = {
    "closed": "good",
    "half-open": "partial",
    "partial": "partial",
    "open": "bad",
}

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

LISTED_IN_ORDER = 8
"""Services, proxies or policies that a table lists; of more, those in order are counted."""

PATCHES_SHOWN = 4
"""Patched resources, and policies that patch them, that are named."""

_COUNTED_STATES = frozenset({"rejected", "pending", "programmed"})
"""Policy states that are shown with the number of sidecars that ACKed."""


def status(
    policy: Annotated[
        str, typer.Argument(metavar="KIND/NAME", help="Show one policy in detail. [default: the mesh]")
    ] = "",
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if there is a problem.")] = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="List all that is in order, and idle services too.")
    ] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show whether the mesh is healthy, what is wrong and why; then services, sidecars and policies.

    The first line is the verdict: the worst problem, since when it lasts, and the policy that causes it. All
    problems follow: what fails, and what is in force that hurts (faults, open circuit breakers, rejected
    configuration, expiring certificates, an unfinished set-up). Idle services are hidden: nothing failed, the
    last instance left. Of more than eight services, proxies or policies, those in order are only counted.

    For one policy: its conditions, those of a route for each parent and of a Gateway for each listener.

    \b
    Symbols: ● good · ▲ partial or pending · × failing · ○ off

    \b
    Example:
      mesh status
      mesh status gateway/ingress
      mesh status --all
      mesh status --check && deploy
      mesh status -o json | jq .verdict
    """
    mesh = call_api(calls.status(), state)
    if policy:
        selected = find_policy(mesh, policy)
        if output is not Output.table:
            print_data(selected, output)
            return
        for line in policy_lines(selected, policy_state(selected)):
            echo(colorize(line))
        return
    if not show_all:
        mesh = {**mesh, "services": [s for s in mesh["services"] if s["health"] != "idle"]}
    if output is not Output.table:
        print_data(mesh, output)
    else:
        _print_mesh(mesh, show_all)
    if check and not mesh["verdict"]["healthy"]:
        raise typer.Exit(errors.FAILED)


def verdict_level(verdict: Mapping[str, Any]) -> Level:
    """The level of a verdict: that of its worst problem."""
    severities = {problem["severity"] for problem in verdict["problems"]}
    return "bad" if "error" in severities else "partial" if severities else "good"


def _print_mesh(mesh: Mapping[str, Any], show_all: bool) -> None:
    verdict = mesh["verdict"]
    echo(colorize(sanitize(status_text(verdict_level(verdict), verdict_line(verdict, format_clock)))))
    if len(verdict["problems"]) > 1:
        for problem in verdict["problems"]:
            level: Level = "bad" if problem["severity"] == "error" else "partial"
            echo(colorize(sanitize(f"  {status_text(level, problem_text(problem, format_clock))}")))
    store: Level = "good" if mesh["store"] == "ok" else "partial"
    echo(colorize(f"revision {mesh['revision']}   store {status_text(store, mesh['store'])}{_absence(mesh)}"))
    if mesh.get("push") and (line := push_text(mesh["push"])):
        echo(colorize(sanitize(status_text("partial", line))))
    if mesh.get("patched"):
        echo(colorize(sanitize(status_text("partial", _patched(mesh["patched"])))))
    if skew := _skew(mesh):
        echo(colorize(sanitize(skew)))
    _print_sections(mesh, math.inf if show_all else LISTED_IN_ORDER)


def _skew(mesh: Mapping[str, Any]) -> str:
    """The worst difference between versions, this command's with them, in one line; empty if there is none.

    A control plane of an earlier version says nothing of the others: then `mesh version` shows them.
    """
    skews = [(skew["supported"], skew["message"]) for skew in mesh.get("skews", ())]
    worst = worst_skew(mesh["version"], skews)
    return status_text("partial" if worst.supported else "bad", worst.difference) if worst else ""


def _patched(resources: Sequence[Mapping[str, Any]]) -> str:
    """Patches of Envoy's configuration in one line: the first few resources, and by which policies."""
    shown = [f"{r['type']} {r['name']} of {r['owner']}" for r in resources[:PATCHES_SHOWN]]
    more = f" and {len(resources) - len(shown)} more" if len(resources) > len(shown) else ""
    refs = dict.fromkeys(ref for resource in resources for ref in resource["policies"])
    names = [*list(refs)[:PATCHES_SHOWN], *(["others"] if len(refs) > PATCHES_SHOWN else [])]
    return f"patched by hand: {', '.join(shown)}{more} ({', '.join(names)})"


def _absence(mesh: Mapping[str, Any]) -> str:
    """When the control plane was away, if that was recently: nothing was seen or changed meanwhile."""
    absence = mesh.get("absence")
    if not absence:
        return ""
    seconds = absence["until"] - absence["since"]
    return f"   control plane was away for {format_duration(seconds)} at {format_clock(absence['since'])}"


def _print_sections(mesh: Mapping[str, Any], listed: float) -> None:
    """One table for each kind of object that the mesh has.

    A table of more than `listed` services, proxies or policies shows those that are not in order; a line
    below it counts the others.
    """
    control_planes = mesh.get("control_planes", ())
    _section(
        ("CONTROL PLANE", "ADMIN API", "STATE"),
        [(plane["address"], plane["admin"], _control_plane(plane)) for plane in control_planes],
    )
    services, healthy = _split(mesh["services"], _is_service_in_order, listed)
    _section(
        ("SERVICE", "HEALTH", "READY", "MESSAGE"),
        [(s["name"], _health(s), f"{s['healthy']}/{s['instances']}", _message(s)) for s in services],
        _counted(healthy, "services healthy"),
    )
    _section(
        ("GATEWAY", "HEALTH", "PROXIES", "MESSAGE"),
        [(g["name"], _health(g), str(g["proxies"]), g["reason"]) for g in mesh["gateways"]],
    )
    proxies, synced = _split(mesh["proxies"], _is_proxy_in_order, listed)
    _section(
        ("PROXY", "SERVICE", "STATE", "REVISION", "ERROR"),
        [(p["name"], p["service"], _proxy(p), _revision(p), proxy_message(p)) for p in proxies],
        _counted(synced, "proxies synced"),
    )
    tripped = [breaker for breaker in mesh["breakers"] if breaker["state"] != "closed"]
    _section(("FROM", "TO", "BREAKER"), [(b["from"], b["to"], _breaker(b)) for b in tripped])
    policies, programmed = _split(mesh["policies"], _is_policy_in_order, listed)
    _section(
        ("POLICY", "STATE", "CONDITIONS"),
        [(f"{p['kind']}/{p['name']}", policy_state(p), _conditions(p["conditions"])) for p in policies],
        _counted(programmed, "policies programmed"),
    )


def _split(
    objects: Sequence[Mapping[str, Any]], is_in_order: Callable[[Mapping[str, Any]], bool], listed: float
) -> tuple[list[Mapping[str, Any]], int]:
    """What a table lists, and the number of objects in order that it leaves out."""
    if len(objects) <= listed:
        return list(objects), 0
    shown = [each for each in objects if not is_in_order(each)]
    return shown, len(objects) - len(shown)


def _is_service_in_order(service: Mapping[str, Any]) -> bool:
    return service["health"] == "healthy" and not _message(service)


def _is_proxy_in_order(proxy: Mapping[str, Any]) -> bool:
    return proxy["state"] == "synced" and not proxy_message(proxy)


def _is_policy_in_order(policy: Mapping[str, Any]) -> bool:
    levels = {condition_level(condition) for condition in policy["conditions"]}
    return policy["state"] == "programmed" and levels <= {"good"}


def _counted(count: int, what: str) -> str:
    """The line below a table on what is in order and not listed in it; empty if nothing is left out."""
    return f"{status_text('good', f'{count} {what}')}: `mesh status --all` lists them" if count else ""


def _section(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], footer: str = "") -> None:
    if rows or footer:
        echo("")
        print_table(header, rows)
    if footer:
        echo(colorize(footer))


def _control_plane(plane: Mapping[str, Any]) -> str:
    """Whether another control plane is reachable. Data of an unreachable one is missing everywhere."""
    if plane["state"] != "unreachable":
        return status_text("good", "this one" if plane["state"] == "this" else "reachable")
    duration = format_duration(plane["unreachable_seconds"])
    return status_text("bad", f"unreachable for {duration} ({plane['error']})")


def _health(node: Mapping[str, Any]) -> str:
    return status_text(HEALTH_LEVELS.get(node["health"], "off"), node["health"])


def _message(service: Mapping[str, Any]) -> str:
    """Why a service is not well, and since when it has had no instance."""
    since = f"since {format_clock(service['since'])}" if service["since"] else ""
    return ", ".join(filter(None, (service["reason"], since)))


def _revision(proxy: Mapping[str, Any]) -> str:
    """The newest revision that a proxy ACKed completely; `-` if none is known, though it serves something."""
    is_unknown = not proxy["revision"] and proxy["state"] in ("rejected", "disconnected")
    return "-" if is_unknown else str(proxy["revision"])


def _proxy(proxy: Mapping[str, Any]) -> str:
    return status_text(PROXY_LEVELS.get(proxy["state"], "partial"), proxy["state"])


def _breaker(breaker: Mapping[str, Any]) -> str:
    """The state of a circuit breaker with its reasons."""
    reasons = [f"{breaker['ejected']} of {breaker['hosts']} instances ejected"] if breaker["ejected"] else []
    reasons += ["limit reached"] if breaker["limited"] else []
    reasons += ["an instance is being tried"] if breaker["state"] == "half-open" else []
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
