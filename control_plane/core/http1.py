"""HTTP/1 as apps use it without a mesh: what a server may ignore is ignored, not refused.

Envoy's defaults refuse unknown methods, HTTP/1.0 and unknown `Upgrade` offers, and drop trailers.
"""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.envoy import v3

WEBSOCKET = "websocket"


TRAILERS = "meshwright.request_trailers"
"""The filter's name: HeaderPolicy's of the same type is disabled where no route uses it."""


def without_request_trailers() -> v3.HeaderMutation:
    """A filter that drops the trailers of requests, as a proxy may (RFC 9110, section 6.5).

    They come after everything that looks at a request, and some servers take them for headers of this or of
    the next one on the connection, which is another client's. Those that frame a message (`Connection`) are
    valid to HTTP/1, and refused by the next hop's HTTP/2 as if the instance had failed.
    """
    matcher = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=".*"))
    every = v3.ConfigHeaderMutation(
        remove_on_match=v3.ConfigHeaderMutation.RemoveOnMatch(key_matcher=matcher)
    )
    return v3.HeaderMutation(mutations=v3.Mutations(request_trailers_mutations=[every]))


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
