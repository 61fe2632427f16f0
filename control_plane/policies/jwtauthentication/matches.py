"""Which requests carry a token twice, as matches of Envoy's routes."""

from __future__ import annotations

import re

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.exempt_matches import header
from meshwright.control_plane.policies.jwtauthentication.spec import TokenLocation

_ANY = r"\C*"
"""Any bytes: `.` does not match one that is not UTF-8."""


def repeated(place: TokenLocation) -> v3.HeaderMatcher | None:
    """Requests with two tokens in this place; None for a header, where the filter reads each."""
    if place.query:
        name = "".join(f"(?:{re.escape(char)}|(?i:%{ord(char):02x}))" for char in place.query)
        return header(":path", rf"{_ANY}\?(?:{_ANY}&)?{name}(?:[=&]{_ANY})?&{name}(?:[=&]{_ANY})?")
    if place.cookie:
        name = re.escape(place.cookie)
        return header("cookie", rf"(?:{_ANY}[;,])? *{name}={_ANY}[;,] *{name}={_ANY}")
    return None
