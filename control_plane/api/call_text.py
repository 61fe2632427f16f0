"""An explained call in words, as `mesh explain` and the dashboard show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.percent_text import percent_text

_SIGNS = {"passes": signs.GOOD, "answers": signs.GOOD, "may refuse": signs.PARTIAL, "refuses": signs.BAD}
_OUTCOMES = {
    "forwarded": signs.GOOD,
    "answered": signs.GOOD,
    "may be refused": signs.PARTIAL,
    "refused": signs.BAD,
}
_DIRECTIONS = {"outbound": "outbound", "ingress": "gateway", "inbound": "inbound"}

_INDENT = "  "
PART_WIDTH = 15
"""Columns for the name of a step, which is one of about twenty words."""

_Fields = Mapping[str, Any]


def call_lines(explanation: _Fields) -> Iterator[str]:
    """A CallExplanation as lines: a summary, then each proxy with its steps."""
    yield f"{_OUTCOMES[explanation['verdict']]} {explanation['summary']}"
    for hop in explanation["hops"]:
        yield ""
        yield from _hop_lines(hop, explanation["revision"])


def _hop_lines(hop: _Fields, revision: int) -> Iterator[str]:
    yield f"{hop['proxy']}, {_DIRECTIONS[hop['direction']]} ({_reach(hop, revision)})"
    for step in hop["steps"]:
        yield from _step_lines(step, _INDENT)
    shown: list[_Fields] = []
    for route in hop["routes"]:
        several = len(hop["routes"]) > 1
        if several:
            yield f"{_INDENT}{percent_text(route['share'] * 100)} → {_destination(route)}"
        steps = [step for step in route["steps"] if step not in shown]
        for step in steps:
            yield from _step_lines(step, _INDENT * (2 if several else 1))
        if several and len(steps) < len(route["steps"]):
            yield f"{_INDENT * 2}otherwise as above"
        shown += steps


def _reach(hop: _Fields, revision: int) -> str:
    """How many of the proxies do what is explained."""
    if not hop["proxies"]:
        return "no proxy is connected"
    return f"{hop['synced']} of {hop['proxies']} proxies have revision {revision}"


def _destination(route: _Fields) -> str:
    if route["status"]:
        return f"{route['status']} {route['location']}".strip()
    return str(route["cluster"])


def _step_lines(step: _Fields, indent: str) -> Iterator[str]:
    sign = f"{_SIGNS[step['verdict']]} " if step["verdict"] else ""
    yield f"{indent}{step['part']:<{PART_WIDTH}} {sign}{step['text']}"
    margin = f"{indent}{'':<{PART_WIDTH}} "
    yield from (f"{margin}{detail}" for detail in step["details"])
    yield from (f"{margin}by {line}" for line in _policy_lines(step["policies"]))


def _policy_lines(policies: Sequence[_Fields]) -> Iterator[str]:
    for policy in policies:
        facts = [policy["source"], f"revision {policy['revision']}" if policy["revision"] else ""]
        change = ", ".join(filter(None, (*facts, policy["author"])))
        yield f"{policy['name']} ({change})" if change else policy["name"]
