"""What a change does, in words: the proxies that it touches with their traffic, and each field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshwright.cli.lint import finding_lines

SERVICES_NAMED = 5


def change_summary(diff: Mapping[str, Any]) -> list[str]:
    """Lines about a DiffResponse; none if nothing differs."""
    changed = [change for change in diff["changed"] if change["action"] != "unchanged"]
    if not changed:
        return []
    words = (line for change in changed for line in _in_words(change))
    return [_impact(diff["impact"]), *words, *finding_lines(diff["findings"]), ""]


def _impact(impact: Mapping[str, Any]) -> str:
    count = len(impact["proxies"])
    if not count:
        return "touches no connected proxy"
    proxies = f"touches {count} {'proxy' if count == 1 else 'proxies'} of {_names(impact['services'])}"
    rates = f"no requests within the last {impact['window']:g} s"
    if impact["rps"]:
        rates = f"{impact['rps']:.1f} requests/s, {impact['failures_per_s']:.1f} failures/s"
    streams = impact["open_streams"]
    in_progress = f", {streams} open {'stream' if streams == 1 else 'streams'}" if streams else ""
    return f"{proxies}: {rates}{in_progress}"


def _names(services: Sequence[str]) -> str:
    others = len(services) - SERVICES_NAMED
    named = ", ".join(services[:SERVICES_NAMED])
    return f"{named} and {others} more" if others > 0 else named or "unknown services"


def _in_words(change: Mapping[str, Any]) -> Iterator[str]:
    yield f"{change['action']} {change['kind']}/{change['name']}"
    for field in change["fields"]:
        if not field["before"]:
            yield f"  {field['field']}: added {field['after']}"
        elif not field["after"]:
            yield f"  {field['field']}: removed {field['before']}"
        else:
            yield f"  {field['field']}: {field['before']} → {field['after']}"
    if change["more_fields"]:
        yield f"  and {change['more_fields']} more"
