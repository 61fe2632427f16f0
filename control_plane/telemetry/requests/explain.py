"""Why a request failed or was slow: flag → sidecar → policy → revision → author. Pure.

What proxies told of it is put in the order of its way; what failed with nothing failed below it is the cause,
and what stands above passed it on. A caller that hung up is a consequence where something else failed.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.api.models.requests import Cause, Explanation, Request, ResponsiblePolicy
from meshwright.control_plane.api.models.traces import ResponseFlag, Trace
from meshwright.control_plane.telemetry.requests import call_path, response_flags
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution, policy_list
from meshwright.control_plane.telemetry.requests.call_path import CallHop

SLOW_MS = 1000.0
"""Milliseconds from which a request that went well is called slow: proxies tell those always."""

MAX_CAUSES = 20
"""Reasons that are told."""

LATENCY_KINDS = ("Timeout", "Retry", "FaultInjection")
"""Kinds that have to do with how long a request takes."""


def explain_request(
    id: str, records: Sequence[Request], trace: Trace | None, policies: PolicyAttribution, now: float
) -> Explanation | None:
    """Explain what is known of a request (`records` of proxies, spans of its trace); None: nothing is.

    `law` is what was in force then; `now` is in seconds since the epoch.
    """
    found = call_path.order_hops(call_path.merge_spans_and_logs(records, trace, policies.gateways))
    if not found:
        return None
    # Of several requests under one id the first is what was asked for.
    first = found[0].request
    failed = _failed_hops(found)
    if failed:
        reasons = [one for hop in failed for one in _causes_at(hop, policies)]
        summary = _summary(reasons[0], now)
        if not first.failed:
            summary = f"{_outcome(first)}, though below it {summary}"
    else:
        slowest = max(found, key=lambda hop: hop.self_ms)
        reasons = [_latency_cause(slowest, policies)]
        summary = _latency_summary(first, reasons[0], now)
    return Explanation.model_validate(
        {
            "id": id,
            "request": first.id,
            "trace": first.trace,
            "time": first.time,
            "verdict": "failed" if first.failed else "slow" if first.duration >= SLOW_MS else "fine",
            "summary": summary,
            "reasons": tuple(reasons[:MAX_CAUSES]),
            "steps": call_path.to_api(found),
            "source": "log" if records else "trace",
        }
    )


# --- what failed ----------------------------------------------------------------------------------------


def _failed_hops(found: Sequence[CallHop]) -> list[CallHop]:
    """The hops that failed, the cause first: the deepest of the newest, then what has reasons of its own."""
    failed = [index for index, hop in enumerate(found) if hop.request.failed]
    causes = [index for index in failed if not _is_client_disconnect(found[index].request)] or failed
    above = {found[index].parent for index in causes}
    leaves = [index for index in causes if index not in above]
    flagged = [index for index in causes if index in above and found[index].request.flags]
    leaves.sort(key=lambda index: (-found[index].depth, -found[index].request.time))
    return [found[index] for index in (*leaves, *flagged)]


def _is_client_disconnect(request: Request) -> bool:
    told = [one for one in request.flags if one.flag not in response_flags.HARMLESS]
    return bool(told) and all(one.flag in response_flags.CLIENT_DISCONNECT for one in told)


def _causes_at(hop: CallHop, law: PolicyAttribution) -> list[Cause]:
    """One for each flag of the request there, that of the last try first; or one for no flag."""
    request = hop.request
    told = [one for one in request.flags if one.flag not in response_flags.HARMLESS]
    told.sort(key=lambda one: one.flag == "URX")
    if _is_client_disconnect(request):
        # Who waits for a request that is held back on purpose leaves in the end.
        told = [*(one for one in request.flags if one.flag == "DI"), *told]
    if not told:
        return [
            _cause(request, "", _describe_unflagged(request), law.responsible_policies(request, "", _ROUTED))
        ]
    return [_flag_cause(request, one, law) for one in told]


_ROUTED = ("HTTPRoute", "GRPCRoute")


def _describe_unflagged(request: Request) -> str:
    answer = f"answered {request.grpc_status or request.status}"
    if "direct_response" in request.details:
        return "its route names no backend to send to"
    if request.direction == "inbound":
        return f"the app of {request.service} itself {answer}"
    return f"{request.callee or request.upstream or 'it'} itself {answer}, no proxy of the mesh did"


def _flag_cause(request: Request, flag: ResponseFlag, law: PolicyAttribution) -> Cause:
    blamed = law.responsible_policies(request, flag.flag, flag.kinds)
    words = flag.meaning
    if flag.flag == "NR":
        words, blamed = _no_route(request, law)
    elif request.direction == "inbound":
        words = words.replace("the instance", f"the app of {request.service}")
    if request.transport_failure:
        words = f"{words}: {request.transport_failure}"
    if flag.flag == "URX":
        words = f"{words}: {request.attempts} tries"
    return _cause(request, flag.flag, words, blamed)


def _no_route(request: Request, law: PolicyAttribution) -> tuple[str, tuple[ResponsiblePolicy, ...]]:
    asked = f"{request.method} {request.path}".strip()
    if request.direction == "outbound" and request.callee not in law.services:
        return f"no service is called {request.callee or request.host!r}", ()
    routes = law.candidate_routes(request)
    if not routes:
        return f"nothing at {request.service} takes {request.host}: no route is attached", ()
    return f"no route matches {asked}", routes


def _cause(request: Request, flag: str, words: str, blamed: tuple[ResponsiblePolicy, ...]) -> Cause:
    return Cause(
        service=request.service,
        proxy=request.proxy,
        caller=request.caller,
        callee=request.callee,
        status=request.status,
        grpc_status=request.grpc_status,
        flag=flag,
        message=words,
        policies=blamed,
    )


# --- in words -------------------------------------------------------------------------------------------


def _summary(reason: Cause, now: float) -> str:
    """`503 UO at storefront → orders: CircuitBreaker orders-limits, revision 41, by ann, 3 minutes ago`."""
    head = " ".join(filter(None, (reason.grpc_status or str(reason.status or ""), reason.flag)))
    return f"{head or 'failed'} at {_where(reason)}: {_policy(reason, now) or reason.message}"


def _where(reason: Cause) -> str:
    ends = [one for one in (reason.caller, reason.callee) if one]
    return " → ".join(dict.fromkeys(ends)) or reason.service


def _policy(reason: Cause, now: float) -> str:
    if not reason.policies:
        return ""
    if reason.flag == "NR":
        newest = reason.policies[0]
        which = f"of {policy_list([newest])}"
        if len(reason.policies) > 1:
            which = f"of {len(reason.policies)}: the one that changed last is {policy_list([newest])}"
        return f"{reason.message} {which}{_origin(newest, now)}"
    return f"{policy_list(reason.policies)}{_origin(reason.policies[0], now)}"


def _origin(blamed: ResponsiblePolicy, now: float) -> str:
    told = f", revision {blamed.revision}" if blamed.revision else ""
    told += f", by {blamed.author}" if blamed.author else ""
    return f"{told}, {time_ago(now - blamed.time)}" if blamed.time else told


def time_ago(seconds: float) -> str:
    """`3 minutes ago`."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


# --- what took long -------------------------------------------------------------------------------------


def _latency_cause(hop: CallHop, law: PolicyAttribution) -> Cause:
    """Where most of the time went, and what shaped it."""
    request = hop.request
    share = f"{_ms(hop.self_ms)} of {_ms(request.duration)}"
    if request.direction == "inbound":
        words = f"{share} were spent in the app of {request.service}"
    else:
        to = request.callee or request.host
        words = f"{share} were spent on the way to {to} or in it, as {request.service} saw it"
    if request.attempts > 1:
        words += f", in {request.attempts} tries"
    shaping = [kind for kind in LATENCY_KINDS if request.direction != "inbound" or kind == "FaultInjection"]
    flag = "DI" if any(one.flag == "DI" for one in request.flags) else ""
    return _cause(request, flag, words, law.responsible_policies(request, "", shaping))


def _latency_summary(first: Request, reason: Cause, now: float) -> str:
    told = f"{_outcome(first)}: {reason.message}"
    shaped = f"; {_policy(reason, now)}" if reason.policies else ""
    return told + shaped


def _outcome(first: Request) -> str:
    return f"{first.grpc_status or first.status} after {_ms(first.duration)}"


def _ms(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2f} ms" if value >= 0.005 else "<1 ms"
