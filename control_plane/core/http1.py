"""HTTP/1 as apps use it without a mesh: what a server may ignore is ignored, not refused.

Envoy's defaults refuse unknown methods, HTTP/1.0 and unknown `Upgrade` offers, and drop trailers.
"""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.envoy import v3

WEBSOCKET = "websocket"


def options(*, any_method: bool = True) -> v3.Http1ProtocolOptions:
    """HTTP/1 of every listener.

    A server may ignore an Upgrade (RFC 9110, section 7.8); TLS/1.2 for example is offered by default by
    Apache HttpClient. HTTP/1.0 needs no Host (RFC 9112, section 3.2); with an empty default host such a
    request has no destination, and Envoy responds 400.
    """
    return v3.Http1ProtocolOptions(
        accept_http_10=True,
        enable_trailers=True,
        allow_custom_methods=any_method,
        ignore_http_11_upgrade=[v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=_anything_but(WEBSOCKET)))],
    )


@lru_cache(maxsize=1)
def _anything_but(word: str) -> str:
    """A regular expression that matches every text but `word` in any case; RE2 has no negation.

    Letter by letter: the text ends, or has another letter here, or goes on differently.
    """
    pattern = ".+"
    for letter in reversed(word):
        either = f"{letter.lower()}{letter.upper()}"
        pattern = f"(?:[^{either}].*|[{either}]{pattern})?"
    return pattern
