"""Which requests carry a token twice, as matches of Envoy's routes."""

from __future__ import annotations

import re

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.exempt_matches import header
from meshwright.control_plane.policies.jwtauthentication.spec import TokenLocation


def repeated(place: TokenLocation) -> v3.HeaderMatcher | None:
    """Requests with two tokens in this place; None for a header, where the filter reads each."""
    if place.query:
        name = "".join(f"(?:{re.escape(char)}|(?i:%{ord(char):02x}))" for char in place.query)
        return header(":path", rf"[^?]*\?(?:.*&)?{name}(?:=[^&]*)?(?:&.*)?&{name}(?:[=&].*)?")
    if place.cookie:
        name = re.escape(place.cookie)
        return header("cookie", rf"(?:.*[;,])? *{name}=.*[;,] *{name}=.*")
    return None
