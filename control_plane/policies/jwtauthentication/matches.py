"""Which requests need no token, and which carry one twice, as matches of Envoy's routes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.jwtauthentication.spec import TokenException, TokenLocation

_CHAR = r"[^/%;?#\\]"
_NO_DOT = r"[^./%;?#\\]"
_SEGMENTS = rf"(?:/(?:{_NO_DOT}|\.{_NO_DOT}|\.\.{_CHAR}){_CHAR}*)*/?"
"""Segments that every server reads alike: not `.`, not `..`, not empty, no parameters, nothing encoded."""

_QUERY = r"(?:\?.*)?"


def exception(entry: TokenException) -> Iterator[v3.HeaderMatcher]:
    """What a request must match to be an exception, besides the route's own match."""
    path = re.escape(entry.path.rstrip("/") if entry.type == "PathPrefix" else entry.path)
    rest = _SEGMENTS if entry.type == "PathPrefix" else ""
    yield _header(":path", f"{path}{rest}{_QUERY}")
    if entry.methods:
        yield _header(":method", "|".join(entry.methods))


def repeated(place: TokenLocation) -> v3.HeaderMatcher | None:
    """Requests with two tokens in this place; None for a header, where the filter reads each."""
    if place.query:
        name = "".join(f"(?:{re.escape(char)}|(?i:%{ord(char):02x}))" for char in place.query)
        return _header(":path", rf"[^?]*\?(?:.*&)?{name}(?:=[^&]*)?(?:&.*)?&{name}(?:[=&].*)?")
    if place.cookie:
        name = re.escape(place.cookie)
        return _header("cookie", rf"(?:.*[;,])? *{name}=.*[;,] *{name}=.*")
    return None


def _header(name: str, regex: str) -> v3.HeaderMatcher:
    matcher = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=regex))
    return v3.HeaderMatcher(name=name, string_match=matcher)
