"""Authorizations for the calls that were seen, as text: what `mesh authz suggest` prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meshwright.control_plane.policies.authorization.matches import MAX_ENTRIES
from meshwright.control_plane.policies.authorization.spec import MAX_RULES
from meshwright.control_plane.telemetry.requests.path_templates import is_template

ENOUGH_RECORDED = 300
"""Recorded requests of a caller that say what it calls: with a confidence of 95 % what they miss is each less
than 1 % of its requests (the rule of three). Fewer are enough if they are all."""

MAX_TO = 32
"""Entries of `to` of a rule."""

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_GRPC_PATH = re.compile(r"/(?P<service>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)/(?P<method>[A-Za-z_]\w*)")

_Call = Mapping[str, Any]
_To = tuple[str, ...]
"""The lines of `to`; empty: everything."""


def suggestion_lines(calls: Sequence[_Call], seconds: float) -> Iterator[str]:
    """One Authorization for each called service, which allows its callers what they called."""
    yield f"# What was called in the last {_minutes(seconds)}. Review it before you apply it:"
    yield "# what no allow rule of a service matches is refused."
    for service in sorted({call["service"] for call in calls}):
        of_service = [call for call in calls if call["service"] == service]
        yield from ("---", "apiVersion: meshwright.io/v1", "kind: Authorization", "metadata:")
        yield from (f"  name: {service}-callers", "spec:", "  targetRefs:")
        yield from (f"  - {{kind: Service, name: {service}}}", "  rules:")
        yield from _rules(of_service)


def _rules(calls: Sequence[_Call]) -> Iterator[str]:
    """A rule for all callers with the same calls.

    Where a rule decides by path, ambiguous paths are refused to everybody: if one was seen, none decides so.
    """
    by_path = all(item["path"] for call in calls if _is_known(call) for item in call["operations"])
    groups: dict[_To, list[_Call]] = {}
    for call in calls:
        groups.setdefault(_to(call, by_path=by_path), []).append(call)
    if len(groups) > MAX_RULES:
        groups = {(): list(calls)}
    names: set[str] = set()
    for number, (to, callers) in enumerate(groups.items(), 1):
        name = callers[0]["caller"] if len(callers) == 1 else "callers"
        name = f"{name}-{number}" if name in names else name
        names.add(name)
        yield from (f"  - name: {name}", "    from:")
        yield from _from(callers)
        yield from to


def _from(callers: Sequence[_Call]) -> Iterator[str]:
    for role in ("gateway", "service"):
        names = sorted({call["caller"] for call in callers if call["role"] == role})
        for start in range(0, len(names), MAX_ENTRIES):
            yield f"    - {role}s: [{', '.join(names[start : start + MAX_ENTRIES])}]"
    yield from (f"    # {_comment(call)}" for call in callers)


def _to(call: _Call, *, by_path: bool) -> _To:
    """The lines of `to`, for what a caller called; none for everything."""
    ports = {"ports": call["ports"]} if call["ports"] else {}
    entries = list(_entries(call["operations"], by_path=by_path)) if _is_known(call) else []
    if len(entries) > MAX_TO or any(not entry for entry in entries):
        entries = []
    entries = [entry | ports for entry in entries] or ([ports] if ports else [])
    return ("    to:", *(line for entry in entries for line in _entry_lines(entry))) if entries else ()


def _is_known(call: _Call) -> bool:
    """Whether enough requests were recorded to say what the caller calls."""
    return _recorded(call) >= min(call["requests"], ENOUGH_RECORDED) and bool(call["operations"])


def _recorded(call: _Call) -> float:
    return float(sum(item["requests"] for item in call["operations"]))


def _entries(operations: Sequence[_Call], *, by_path: bool) -> Iterator[dict[str, Any]]:
    """Entries of `to`: gRPC methods, and paths with the methods of their calls. Empty: everything."""
    methods_of: dict[str, set[str]] = {}
    grpc = []
    for item in operations:
        match = _GRPC_PATH.fullmatch(item["path"]) if item["grpc"] and by_path else None
        if match:
            grpc.append(match.groupdict())
        else:
            methods_of.setdefault(item["path"] if by_path else "", set()).add(item["method"])
    paths_of: dict[tuple[str, ...], list[str]] = {}
    for path, methods in methods_of.items():
        is_nameable = all(_METHOD.fullmatch(method) for method in methods)
        paths_of.setdefault(tuple(sorted(methods)) if is_nameable else (), []).append(path)
    for start in range(0, len(grpc), MAX_ENTRIES):
        yield {"grpc": grpc[start : start + MAX_ENTRIES]}
    for named, paths in sorted(paths_of.items()):
        for start in range(0, len(paths), MAX_ENTRIES):
            matches = [_path(path) for path in sorted(paths)[start : start + MAX_ENTRIES] if path]
            yield ({"methods": list(named)} if named else {}) | ({"paths": matches} if matches else {})


def _path(path: str) -> dict[str, str]:
    return {"type": "Template" if is_template(path) else "Exact", "value": path}


def _entry_lines(entry: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """An entry of `to`; names and methods in one line, the others in a line each."""
    for index, (field, values) in enumerate(entry.items()):
        lead = "    - " if index == 0 else "      "
        if isinstance(values[0], str):
            yield f"{lead}{field}: [{', '.join(values)}]"
        else:
            yield f"{lead}{field}:"
            yield from (f"      - {_flow(value)}" for value in values)


def _flow(value: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {json.dumps(text)}' for key, text in value.items())}}}"


def _comment(call: _Call) -> str:
    """How often, and how much of it is known."""
    if call["protocol"] == "tcp":
        return f"{call['caller']}: {_number(call['requests'])} connections"
    recorded, requests = _recorded(call), call["requests"]
    text = f"{call['caller']}: {_number(requests)} requests"
    if _is_known(call):
        return text if recorded >= requests else f"{text}, {_number(recorded)} of them recorded"
    return f"{text}, {_number(recorded)} of them recorded: too few to say which, so all are allowed"


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
