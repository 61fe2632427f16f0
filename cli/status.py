"""`mesh status`: services, sidecars and policies as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshwright.cli import output as output_module
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level
from meshwright.control_plane.api import calls

PROXY_LEVELS: dict[str, Level] = {
    "synced": "good",
    "pending": "partial",
    "rejected": "bad",
    "disconnected": "off",
}

_BREAKER_LEVELS: dict[str, Level] = {"closed": "good", "partial": "partial", "open": "bad"}


def status(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show services, sidecars, open circuit breakers and policies as they stand, and other control planes.

    \b
    Signs: ● good · ◐ partly, or not yet · ✖ failing · ○ off

    \b
    Example:
      mesh status
      mesh status -o json
    """
    reply = call_api(calls.status(), state)
    if output is not Output.table:
        output_module.print_data(reply, output)
        return
    store: Level = "good" if reply["store"] == "ok" else "partial"
    output_module.echo(
        output_module.colorize(
            f"revision {reply['revision']}   store {output_module.status_text(store, reply['store'])}"
        )
    )
    for problem in reply.get("problems", ()):
        output_module.echo(output_module.colorize(output_module.status_text("bad", problem)))
    planes = reply.get("planes", ())
    _section(
        ("CONTROL PLANE", "ADMIN API", "STATE"),
        [(p["address"], p["admin"], _control_plane(p)) for p in planes],
    )
    _section(("SERVICE", "HEALTHY"), [(s["name"], _service(s)) for s in reply["services"]])
    _section(
        ("PROXY", "SERVICE", "STATE", "REVISION", "ERROR"),
        [(p["name"], p["service"], _proxy(p), str(p["revision"]), p["error"]) for p in reply["proxies"]],
    )
    unwell = [one for one in reply["breakers"] if one["state"] != "closed"]
    _section(("FROM", "TO", "BREAKER"), [(one["from"], one["to"], _breaker(one)) for one in unwell])
    _section(("POLICY", "CONDITIONS"), [(f"{p['kind']}/{p['name']}", _policy(p)) for p in reply["policies"]])


def _section(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if rows:
        output_module.echo("")
        output_module.print_table(head, rows)


def _control_plane(plane: Mapping[str, Any]) -> str:
    """Whether another control plane answers; one that does not is left out of what is shown."""
    if plane["state"] != "silent":
        return output_module.status_text("good", "this one" if plane["state"] == "this" else "answers")
    return output_module.status_text("bad", f"silent for {plane['silent']:.0f} s ({plane['trouble']})")


def _service(service: Mapping[str, Any]) -> str:
    healthy, instances = service["healthy"], service["instances"]
    level: Level = "off" if not instances else "bad" if not healthy else "partial"
    words = f"{healthy}/{instances}"
    return output_module.status_text("good" if instances and healthy == instances else level, words)


def _proxy(proxy: Mapping[str, Any]) -> str:
    return output_module.status_text(PROXY_LEVELS.get(proxy["state"], "partial"), proxy["state"])


def _breaker(breaker: Mapping[str, Any]) -> str:
    """The state and what made it so."""
    reasons = [f"{breaker['ejected']} of {breaker['hosts']} instances left out"] if breaker["ejected"] else []
    reasons += ["a limit is reached"] if breaker["limited"] else []
    state = breaker["state"]
    return output_module.status_text(_BREAKER_LEVELS.get(state, "bad"), f"{state} ({', '.join(reasons)})")


def _policy(policy: Mapping[str, Any]) -> str:
    return "   ".join(
        _condition(condition) for condition in policy["conditions"]
    ) or output_module.status_text("off", "none yet")


def _condition(condition: Mapping[str, Any]) -> str:
    """A condition as sign, type and, where something is amiss or counted, its words."""
    wanted = "False" if condition["type"] in {"Conflicted", "Rejected"} else "True"
    if condition["status"] == wanted:
        level: Level = "good"
    elif condition["status"] == "Unknown":
        level = "off"
    else:
        level = "bad" if condition["type"] in {"Accepted", "Rejected"} else "partial"
    no = {"True": "", "False": "not ", "Unknown": "not yet "}[condition["status"]]
    words = condition["message"] or ("" if level == "good" else condition["reason"])
    return output_module.status_text(level, f"{no}{condition['type']}" + (f" ({words})" if words else ""))
