"""Envoy's response flags: what each means, and which policy kinds explain it (their `explains`).

The flags are those of `%RESPONSE_FLAGS%` in Envoy's documentation ("Access logging", "Command operators").
Spans carry them in the attribute `response_flags`.
"""

from __future__ import annotations

from meshwright.control_plane.api.models.traces import ResponseFlag
from meshwright.control_plane.policies.hook_registry import kinds_by_flag

SPAN_ATTRIBUTE = "response_flags"
"""The span attribute with the flags, separated by commas; `-` without any."""

HARMLESS_FLAGS = frozenset({"DI", "RFCF"})
"""Flags of requests that can still succeed."""

CLIENT_DISCONNECT = frozenset({"DC", "DR"})
"""Flags of requests whose caller disconnected. Streams end this way too."""

REFUSED_FLAGS = frozenset({"RL"})
"""Flags of requests that a policy refused: the caller's mistake, like any 4xx."""

_MEANINGS = {
    "UH": "no healthy instance is available",
    "UF": "the connection to the instance failed",
    "UO": "a limit on connections or requests was reached, so the request was not sent",
    "NR": "no route matches the request",
    "URX": "all attempts failed",
    "NC": "the service named by the route does not exist",
    "DT": "the request or connection exceeded its maximum duration",
    "DC": "the caller disconnected before the response was complete",
    "DR": "the caller reset the stream before the response was complete",
    "LH": "this proxy's own health check fails, so it accepts no requests",
    "UT": "the instance did not respond in time",
    "LR": "this proxy reset the stream to the instance",
    "UR": "the instance reset the stream",
    "UC": "the instance closed the connection before it responded",
    "DI": "a fault injection delayed the request",
    "FI": "a fault injection aborted the request",
    "RL": "there are more requests than a limit lets through",
    "UAEX": "an authorization service denied the request",
    "RLSE": "the rate limit service could not be reached",
    "IH": "a header that configures Envoy has an invalid value",
    "SI": "the stream was idle for too long",
    "DPE": "the caller violated the HTTP protocol",
    "UPE": "the instance violated the HTTP protocol",
    "UMSDR": "the request reached the maximum duration of a stream",
    "RFCF": "the response came from a cache",
    "NFCF": "the configuration of a filter has not arrived yet, so no request can be served",
    "OM": "this proxy is overloaded and rejected the request",
    "DF": "the name of the instance could not be resolved",
    "DO": "the request was dropped because the service is overloaded",
    "UDO": "the configuration drops every request to the service",
}

_KINDS = kinds_by_flag()

FLAGS = {
    flag: ResponseFlag(flag=flag, meaning=meaning, kinds=_KINDS.get(flag, ()))
    for flag, meaning in _MEANINGS.items()
}


def has_failure(value: str, status: int) -> bool:
    """Whether an attribute's value holds a flag that means failure of a request with this HTTP status."""
    if value in {"", "-"}:
        return False
    flags = {flag.strip() for flag in value.split(",")} - HARMLESS_FLAGS - REFUSED_FLAGS - {""}
    return bool(flags - CLIENT_DISCONNECT if status else flags)


def describe(value: str) -> tuple[ResponseFlag, ...]:
    """The flags of an attribute's value, in its order."""
    return tuple(
        FLAGS.get(flag, ResponseFlag(flag=flag[:20], meaning="an unknown response flag"))
        for flag in (part.strip() for part in value.split(","))
        if flag not in {"", "-"}
    )
