"""The span log: what proxies report of traced requests in place of Envoy's own spans, as OTLP log records.

Envoy's tracer makes a span of every request and one of each attempt, in both proxies of a call, and most of
them are not sampled: each costs 3 to 10 % of a request's CPU (docs/benchmarks.md). So only the caller's proxy
makes a span. Its attempts, and the callee's side, are log records, whose filter looks at the sampled flag of
`traceparent`. The control plane makes spans of them (telemetry/traces/logged_spans.py).

An external collector takes no such records, so proxies that send their spans there make all of them.
"""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.core import access_log
from meshwright.control_plane.envoy import v3

LOG_NAME = "spans"

TRACE_PARENT = "traceparent"

_SHARED_FIELDS = ("method", "host", "path", "status", "content_type", "flags", "duration_ms", "request_id")

FIELDS = {
    **{name: access_log.REQUEST_FIELDS[name] for name in _SHARED_FIELDS},
    "upstream": access_log.REQUEST_FIELDS["upstream"],
    "upstream_host": access_log.REQUEST_FIELDS["upstream_host"],
    "parent": "%REQ(TRACEPARENT)%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "user_agent": "%REQ(USER-AGENT)%",
}

SAMPLED_FLAGS = ("1", "3")
"""How a `traceparent` ends if its trace is sampled: the lowest bit of the flags is set (W3C Trace Context,
3.2.2.5). Only two of its bits have a meaning, so the last digit is 0 to 3.
"""

SERVER_FIELDS = {
    **FIELDS,
    "path": "%PATH(NQ:PATH)%",
    "peer": access_log.REQUEST_FIELDS["peer"],
    "details": access_log.REQUEST_FIELDS["details"],
    "duration_us": access_log.REQUEST_FIELDS["duration_us"],
    "sent_us": "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
    "answered_us": "%COMMON_DURATION(DS_RX_BEG:US_RX_END:us)%",
}
"""Of a request that a service received; `sent_us` and `answered_us` are when its app got and answered it.

`path` is the one that rules and the app see: Envoy would write the path before the caller's rewrites.
"""

ATTEMPT_FIELDS = {
    **FIELDS,
    "duration_us": "%COMMON_DURATION(DS_RX_BEG:US_RX_END:us)%",
    "first_byte_us": "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%",
}
"""Of an attempt, which begins when the router makes it. The response to one that is retried is not read to
its end. Envoy does not tell the number of an attempt here.
"""


@lru_cache(maxsize=1)
def server_log() -> v3.AccessLog:
    """The log of traced requests that a service receives."""
    return access_log.otlp_access_log(LOG_NAME, {"kind": "server", **SERVER_FIELDS}, _sampled())


@lru_cache(maxsize=1)
def attempt_log() -> v3.AccessLog:
    """The log of the attempts of traced requests, for the router of a caller's proxy or a gateway."""
    return access_log.otlp_access_log(LOG_NAME, {"kind": "client", **ATTEMPT_FIELDS}, _sampled())


def _sampled() -> v3.AccessLogFilter:
    """Requests whose trace is sampled."""
    digits = [
        v3.AccessLogFilter(
            header_filter=v3.HeaderFilter(
                header=v3.HeaderMatcher(name=TRACE_PARENT, string_match=v3.StringMatcher(suffix=digit))
            )
        )
        for digit in SAMPLED_FLAGS
    ]
    return access_log.any_of(digits)
