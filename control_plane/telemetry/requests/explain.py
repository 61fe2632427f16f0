"""Why a request failed or was slow: response flag → sidecar → policy → revision → author.

What proxies logged is ordered along the call path. A hop that failed with no failed hop below it is the
cause; the hops above passed the failure on. A caller that disconnected is a consequence of another failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from meshwright.control_plane.api.cluster_names import is_external_node, parse_cluster_name
from meshwright.control_plane.api.models.requests import Cause, Explanation, Request, ResponsiblePolicy
from meshwright.control_plane.api.models.traces import ResponseFlag, Trace
from meshwright.control_plane.core.reply_reasons import FORWARDED, direct_response, reason
from meshwright.control_plane.policies.hook_registry import kinds_denying, kinds_refusing
from meshwright.control_plane.telemetry.requests import call_path
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution, policy_list
from meshwright.control_plane.telemetry.requests.call_path import CallHop
from meshwright.control_plane.telemetry.requests.explain_text import (
    failure_summary,
    format_ms,
    latency_summary,
    outcome,
)
from meshwright.control_plane.telemetry.requests.failure import GRPC_REFUSALS
from meshwright.control_plane.telemetry.requests.handshake import refusal_reason
from meshwright.control_plane.telemetry.requests.response_flags import CLIENT_DISCONNECT, HARMLESS_FLAGS

SLOW_MS = 1000.0
"""Duration from which a successful request is slow. Proxies always log those."""

NOT_FOUND = 404

MAX_CAUSES = 20
"""Causes returned."""

LATENCY_KINDS = ("Timeout", "Retry", "FaultInjection")
"""Policy kinds that affect how long a request takes."""

_ROUTE_KINDS = ("HTTPRoute", "GRPCRoute")


def explain_request(
    id: str, records: Sequence[Request], trace: Trace | None, policies: PolicyAttribution, now: float
) -> Explanation | None:
    """Explain a request by the `records` of proxies and the spans of its trace; None without either.

    `policies` are those in effect when it started; `now` is in epoch seconds.
    """
    hops = call_path.order_hops(call_path.merge_spans_and_logs(records, trace, policies))
    hops = call_path.hops_of_request(hops, id)
    if not hops:
        return None
    # Of a trace with several requests, the first one is explained.
    first = hops[0].request
    failed = _failed_hops(hops)
    refused = [hop for hop in hops if is_refusal(hop.request)]
    if failed:
        causes = [cause for hop in failed for cause in _causes_at(hop, policies)]
        summary = failure_summary(causes[0], now)
        if not first.failed:
            summary = f"{outcome(first)}, but a call below it failed: {summary}"
    elif refused:
        causes = [_unflagged_cause(hop.request, policies) for hop in reversed(refused)]
        summary = failure_summary(causes[0], now)
    else:
        slowest = max(hops, key=lambda hop: hop.self_ms)
        causes = [_latency_cause(slowest, policies)]
        summary = latency_summary(first, causes[0], now)
    return Explanation(
        id=id,
        request=first.id,
        trace=first.trace,
        time=first.time,
        verdict=_verdict(first),
        summary=summary,
        causes=tuple(causes[:MAX_CAUSES]),
        hops=call_path.to_api(hops),
        source="log" if records else "trace",
    )


def _verdict(first: Request) -> Literal["failed", "refused", "slow", "fine"]:
    if first.failed:
        return "failed"
    if is_refusal(first):
        return "refused"
    return "slow" if first.duration >= SLOW_MS else "fine"


def direct_causes(request: Request, policies: PolicyAttribution) -> list[Cause]:
    """The causes that this proxy's record of a failed request shows; without those at other proxies."""
    return _causes_at(CallHop(request, -1, 0, 0.0), policies)


# --- failures -------------------------------------------------------------------------------------------


def _failed_hops(hops: Sequence[CallHop]) -> list[CallHop]:
    """The hops that failed, root causes first (deepest, then newest), then those above with flags."""
    failed = [index for index, hop in enumerate(hops) if hop.request.failed]
    causes = [index for index in failed if not _is_client_disconnect(hops[index].request)] or failed
    parents = {hops[index].parent for index in causes}
    leaves = [index for index in causes if index not in parents]
    flagged = [index for index in causes if index in parents and hops[index].request.flags]
    leaves.sort(key=lambda index: (-hops[index].depth, -hops[index].request.time))
    return [hops[index] for index in (*leaves, *flagged)]


def _is_client_disconnect(request: Request) -> bool:
    flags = _failure_flags(request)
    return bool(flags) and all(flag.flag in CLIENT_DISCONNECT for flag in flags)


def _failure_flags(request: Request) -> list[ResponseFlag]:
    return [flag for flag in request.flags if flag.flag not in HARMLESS_FLAGS]


def _causes_at(hop: CallHop, policies: PolicyAttribution) -> list[Cause]:
    """One cause for each failure flag of a request, that of the last attempt first; one without flags."""
    request = hop.request
    flags = sorted(_failure_flags(request), key=lambda flag: flag.flag == "URX")
    if _is_client_disconnect(request):
        # A caller disconnects when an injected delay is longer than it waits.
        flags = [*(flag for flag in request.flags if flag.flag == "DI"), *flags]
    if not flags:
        return [_unflagged_cause(request, policies)]
    return [_flag_cause(request, flag, policies) for flag in flags]


def _describe_unflagged(request: Request) -> str:
    response = f"responded with {request.grpc_status or request.status}"
    if "direct_response" in request.details:
        return direct_response(request.route) or "its route has no backend"
    by = "the gateway" if request.direction == "ingress" else f"the sidecar of {request.service}"
    if refusal_reason(request.details):
        return f"{by} refused a connection {request.transport_failure}"
    if is_own_response(request):
        return f"{by} {response}: {reason(request.details) or request.details}"
    if request.direction == "inbound":
        return f"the app of {request.service} {response}"
    outside = parse_cluster_name(request.upstream).subset
    if is_external_node(outside):
        return f"gateway {request.callee} {response} for {outside}"
    return f"{request.callee or request.upstream or 'the upstream'} itself {response}, not a proxy"


def _flag_cause(request: Request, flag: ResponseFlag, policies: PolicyAttribution) -> Cause:
    if flag.flag == "DF" and request.status == NOT_FOUND:
        # Neither the mesh nor DNS has the name: core/reply_reasons.py makes it the 404 of a missing service.
        return _cause(request, "NR", f"there is no service {request.callee or request.host!r}", ())
    responsible = policies.responsible_policies(request, flag.flag, flag.kinds)
    message = reason(request.details) or flag.meaning
    if flag.flag == "NR":
        message, responsible = _no_route(request, policies)
    elif request.direction == "inbound":
        message = message.replace("the instance", f"the app of {request.service}")
    elif flag.flag == "UH" and is_external_node(request.callee):
        message = "no address of the host is usable: DNS has none, or all of them are ejected or fail probes"
    elif flag.flag == "UH" and is_external_node(parse_cluster_name(request.upstream).subset):
        why = "none runs, or all are ejected after failures"
        message = f"no instance of gateway {request.callee}, which leads to the host, is usable: {why}"
    if request.transport_failure:
        message = f"{message}: {request.transport_failure}"
    if flag.flag == "URX":
        message = f"{message}: {request.attempts} attempts"
    return _cause(request, flag.flag, message, responsible)


def _no_route(request: Request, policies: PolicyAttribution) -> tuple[str, tuple[ResponsiblePolicy, ...]]:
    if request.direction == "outbound" and request.callee not in policies.services:
        return f"there is no service {request.callee or request.host!r}", ()
    routes = policies.candidate_routes(request)
    if not routes:
        return f"no route is attached to {request.service} for host {request.host}", ()
    call = f"{request.method} {request.path}".strip() or "the connection"
    if len(routes) == 1:
        return f"{policy_list(routes)} does not match {call}", routes
    return f"none of the {len(routes)} routes matches {call}", routes


def _cause(request: Request, flag: str, message: str, policies: tuple[ResponsiblePolicy, ...]) -> Cause:
    return Cause(
        service=request.service,
        proxy=request.proxy,
        caller=request.caller,
        callee=request.callee,
        status=request.status,
        grpc_status=request.grpc_status,
        flag=flag,
        message=message,
        policies=policies,
    )


# --- refusals -------------------------------------------------------------------------------------------


def is_own_response(request: Request) -> bool:
    """Whether the proxy responded itself, in place of the app."""
    return request.details not in ("", FORWARDED)


def is_refusal(request: Request) -> bool:
    """Whether the proxy itself responded with a client error, or refused the connection."""
    if not is_own_response(request):
        return False
    is_client_error = 400 <= request.status < 500 or request.grpc_status in GRPC_REFUSALS
    return is_client_error or bool(refusal_reason(request.details) or kinds_denying(request.details))


def explain_refusal(request: Request, policies: PolicyAttribution) -> Cause:
    """Why a proxy refused a request, and the policies whose filter did."""
    return _unflagged_cause(request, policies)


def _unflagged_cause(request: Request, policies: PolicyAttribution) -> Cause:
    """The policy whose filter refused the request, or the route that led it."""
    flags = ",".join(flag.flag for flag in request.flags)
    kinds = kinds_refusing(request.details, request.route, flags) if is_own_response(request) else ()
    responsible = policies.responsible_policies(request, "", kinds or _ROUTE_KINDS)
    return _cause(request, "", _describe_unflagged(request), responsible)


# --- latency --------------------------------------------------------------------------------------------


def _latency_cause(hop: CallHop, policies: PolicyAttribution) -> Cause:
    """Where most of the time was spent, and the policies that affect it."""
    request = hop.request
    share = f"{format_ms(hop.self_ms)} of {format_ms(request.duration)}"
    if request.direction == "inbound":
        message = f"{share} were spent in the app of {request.service}"
    else:
        to = request.callee or request.host
        message = f"{share} were spent in {to} or on the way there, measured by {request.service}"
    if request.attempts > 1:
        message += f", in {request.attempts} attempts"
    kinds = [kind for kind in LATENCY_KINDS if request.direction != "inbound" or kind == "FaultInjection"]
    flag = "DI" if any(flag.flag == "DI" for flag in request.flags) else ""
    return _cause(request, flag, message, policies.responsible_policies(request, "", kinds))
