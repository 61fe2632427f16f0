"""Requests that a policy exempts, as matches of Envoy's routes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.exempt_request import ExemptRequest

_CHAR = r"[^/%;?#\\]"
_NO_DOT = r"[^./%;?#\\]"
_SEGMENTS = rf"(?:/(?:{_NO_DOT}|\.{_NO_DOT}|\.\.{_CHAR}){_CHAR}*)*/?"
"""Segments that every server reads alike: not `.`, not `..`, not empty, no parameters, nothing encoded."""

_QUERY = r"(?:\?.*)?"


def exempt(entry: ExemptRequest) -> Iterator[v3.HeaderMatcher]:
    """What a request must match to be an exception, besides the route's own match."""
    path = re.escape(entry.path.rstrip("/") if entry.type == "PathPrefix" else entry.path)
    rest = _SEGMENTS if entry.type == "PathPrefix" else ""
    yield header(":path", f"{path}{rest}{_QUERY}")
    if entry.methods:
        yield header(":method", "|".join(entry.methods))


def header(name: str, regex: str) -> v3.HeaderMatcher:
    """A header, or `:path` or `:method`, that matches a regular expression as a whole."""
    matcher = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=regex))
    return v3.HeaderMatcher(name=name, string_match=matcher)
