"""How a failure between an app and its own sidecar keeps its nature on the way to the caller.

To the caller the connection to the callee's sidecar is intact: when the app refuses or breaks a connection,
that sidecar responds 503. So it names the failure in a header, by which the caller retries what it would
retry if the app itself had failed towards it. The header is removed from the responses of apps, which could
forge it, and from what callers receive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.control_plane.envoy import v3

HEADER = "x-meshwright-app-failure"

RETRY_ON = "retriable-headers"
"""Envoy's condition for retries by response headers."""

_DETAILS = "upstream_reset_before_response_started"
"""How Envoy's `%RESPONSE_CODE_DETAILS%` begin when a connection failed or broke before a response."""

_MATCHES = {
    "reset": (_DETAILS,),
    "connect-failure": ("connection_failure",),
    "refused-stream": ("remote_refused_stream_reset",),
}
"""Conditions of a Retry and what the header then contains. `reset` includes the others, as in Envoy."""


def reply_mapper() -> v3.ResponseMapper:
    """Adds the header to the responses by which a sidecar replaces those of its app."""
    details = v3.HeaderValueOption(header=v3.HeaderValue(key=HEADER, value="%RESPONSE_CODE_DETAILS%"))
    flags = v3.ResponseFlagFilter(flags=["UF", "UC", "UR", "UPE", "LR"])
    return v3.ResponseMapper(filter=v3.AccessLogFilter(response_flag_filter=flags), headers_to_add=[details])


def matchers(conditions: Iterable[str | int]) -> Iterator[v3.HeaderMatcher]:
    """The header matchers by which a caller recognises these conditions of a Retry at the app."""
    for condition in conditions:
        for text in _MATCHES.get(str(condition), ()):
            yield v3.HeaderMatcher(name=HEADER, string_match=v3.StringMatcher(contains=text))
