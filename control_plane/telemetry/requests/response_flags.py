"""Envoy's response flags in words, and the policy kinds that cause them.

The flags are those of `%RESPONSE_FLAGS%` in Envoy's access log documentation ("Command operators"), which
spans carry as the attribute `response_flags`.
"""

from __future__ import annotations

from meshwright.control_plane.api.models.traces import ResponseFlag

SPAN_ATTRIBUTE = "response_flags"
"""The span attribute in which Envoy puts its flags, separated by commas; `-` when there is none."""


def _flag(flag: str, meaning: str, *kinds: str) -> tuple[str, ResponseFlag]:
    return flag, ResponseFlag(flag=flag, meaning=meaning, kinds=kinds)


FLAGS: dict[str, ResponseFlag] = dict(
    (
        _flag(
            "UH",
            "no healthy instance was left to send to",
            "HealthCheck", "CircuitBreaker",
        ),
        _flag("UF", "the connection to the instance failed", "ConnectionPool", "MutualTLS"),
        _flag(
            "UO",
            "a limit on connections or requests was reached, so the request was not sent",
            "CircuitBreaker",
        ),
        _flag("NR", "no route matches the request", "HTTPRoute", "GRPCRoute", "TCPRoute"),
        _flag("URX", "every try that was allowed failed", "Retry"),
        _flag("NC", "the service that the route names is not known", "HTTPRoute", "GRPCRoute", "TCPRoute"),
        _flag("DT", "the request or connection lasted longer than it may", "Timeout"),
        _flag("DC", "the caller hung up before the answer was complete"),
        _flag("DR", "the caller reset the stream before the answer was complete"),
        _flag("LH", "this proxy's own health check fails, so it takes no requests"),
        _flag("UT", "the instance did not answer in time", "Timeout", "Retry"),
        _flag("LR", "this proxy reset the stream to the instance"),
        _flag("UR", "the instance reset the stream"),
        _flag("UC", "the instance closed the connection before it answered"),
        _flag("DI", "the request was delayed on purpose", "FaultInjection"),
        _flag("FI", "the request was failed on purpose", "FaultInjection"),
        _flag("RL", "the caller sent more requests than it may"),
        _flag("UAEX", "an authorization service refused the request"),
        _flag("RLSE", "the rate limit service could not be asked"),
        _flag("IH", "a header that steers Envoy held a value that it does not allow"),
        _flag("SI", "nothing was sent on the stream for too long", "Timeout"),
        _flag("DPE", "the caller broke the HTTP protocol"),
        _flag("UPE", "the instance broke the HTTP protocol"),
        _flag("UMSDR", "the request reached the longest time that a stream may last", "Timeout"),
        _flag("RFCF", "the answer came from a cache"),
        _flag("NFCF", "a filter's configuration has not arrived, so requests cannot be served yet"),
        _flag("OM", "this proxy is overloaded and ended the request"),
        _flag("DF", "the instance's name could not be resolved"),
        _flag("DO", "the request was dropped to relieve the overloaded service"),
        _flag("UDO", "every request to the service is dropped, by its configuration"),
    )
)  # fmt: skip


HARMLESS = frozenset({"DI", "RFCF"})
"""Flags of requests that went well all the same."""


CLIENT_DISCONNECT = frozenset({"DC", "DR"})
"""Flags of requests whose caller left: of a stream that is how it ends."""


def has_failure(value: str, status: int) -> bool:
    """Whether an attribute's value holds a flag that is no success of a request with this HTTP status."""
    if value in {"", "-"}:
        return False
    told = {code.strip() for code in value.split(",")} - HARMLESS - {""}
    return bool(told - CLIENT_DISCONNECT if status else told)


def describe(value: str) -> tuple[ResponseFlag, ...]:
    """The flags of an attribute's value, in its order; one that is not known is said to be so."""
    codes = (code.strip() for code in value.split(","))
    return tuple(
        FLAGS.get(code, ResponseFlag(flag=code[:20], meaning="a flag that is not known here"))
        for code in codes
        if code not in {"", "-"}
    )
