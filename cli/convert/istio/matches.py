"""Istio's HTTPMatchRequest as matches of an HTTPRoute."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

from meshwright.cli.convert.documents import Document, invalid
from meshwright.cli.convert.istio.fields import CONDITIONS
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch, Method

WIDER = "requests would match that must not, so this match is left out: its requests go to later rules"
"""Why a match goes with a condition that cannot be converted: without the condition it would match more."""

_METHODS = re.compile(r"[A-Z]+(\|[A-Z]+)*")


def read_matches(rule: Value, gateway: str) -> Iterator[tuple[Value, Document]]:
    """The matches of a rule for requests through a gateway (`mesh` for calls inside), each with its source.

    Nothing if no match of the rule can be converted, or applies to this gateway.
    """
    matches = rule.items("match")
    if not matches:
        yield rule, {}
    for match in matches:
        listed = [item.string() for item in match.items("gateways")]
        if listed and gateway not in map(gateway_name, listed):
            continue
        if (read := _read_match(match)) is None:
            match.skip()
            continue
        for method in _methods(match):
            result = read | ({"method": method} if method else {})
            if problem := invalid(HTTPRouteMatch, result):
                match.problem(f"cannot be a match here: {problem}; its requests go to later rules")
            else:
                yield match, result


def gateway_name(gateway: str) -> str:
    """A gateway without its namespace."""
    return gateway.rpartition("/")[2]


def _read_match(match: Value) -> Document | None:
    """The match without its methods; None, and a remark, if a condition cannot be converted."""
    unsupported = [(value, reason) for name, reason in CONDITIONS.items() if (value := match.get(name))]
    for condition, reason in unsupported:
        condition.problem(f"is not converted: {reason}; {WIDER}")
    if unsupported:
        return None
    match.get("name")
    result: Document = {}
    uri = match.get("uri")
    if uri is not None:
        path = _path(uri, ignore_case=match.flag("ignoreUriCase"))
        if path is None:
            return None
        result["path"] = path
    else:
        match.get("ignoreUriCase")
    for field, ours in (("headers", "headers"), ("queryParams", "queryParams")):
        entries = [_value_match(name, value) for name, value in match.mapping(field).items()]
        if None in entries:
            return None
        if entries:
            result[ours] = entries
    return result


def string_match(value: Value) -> tuple[str, Value] | None:
    """The form and the text of Istio's StringMatch; None, and a remark, if it has none."""
    for form in ("exact", "prefix", "regex"):
        if text := value.get(form):
            return form, text
    value.problem(f"has none of exact, prefix and regex; {WIDER}")
    return None


def _path(uri: Value, *, ignore_case: bool) -> Document | None:
    match = string_match(uri)
    if match is None:
        return None
    form, value = match
    text = value.string()
    if form == "regex":
        return {"type": "RegularExpression", "value": text}
    if ignore_case:
        end = "" if form == "exact" else ".*"
        return {"type": "RegularExpression", "value": f"(?i){re.escape(text)}{end}"}
    if form == "exact":
        return {"type": "Exact", "value": text}
    path = text.rstrip("/") or "/"
    if path != "/":
        value.note(f"matches {path} and what is below it here, not every path that begins with {text!r}")
    return {"type": "PathPrefix", "value": path}


def _value_match(name: str, value: Value) -> Document | None:
    """A match on a header or parameter. A condition without a value asks for its presence alone."""
    if not value.node.value:
        return {"type": "RegularExpression", "name": name, "value": ".*"}
    match = string_match(value)
    if match is None:
        return None
    form, text = match[0], match[1].string()
    if form == "exact" and text:
        return {"name": name, "value": text}
    pattern = text if form == "regex" else f"{re.escape(text)}.*"
    if form == "exact":
        value.problem(f"asks for an empty value, which no match can; {WIDER}")
        return None
    return {"type": "RegularExpression", "name": name, "value": pattern}


def _methods(match: Value) -> tuple[str, ...]:
    """The methods to match, each by a match of its own; one empty method for all; none if it is unclear."""
    method = match.get("method")
    if method is None:
        return ("",)
    condition = string_match(method)
    if condition is None:
        return ()
    form, text = condition[0], condition[1].string()
    names = tuple(text.split("|")) if form == "regex" and _METHODS.fullmatch(text) else (text,)
    if form == "prefix" or not set(names) <= set(get_args(Method)):
        method.problem(f"is not a list of methods that a route can match; {WIDER}")
        return ()
    return names
