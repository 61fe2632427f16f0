"""The history of a fixture: revisions, traces, events."""

from __future__ import annotations

from functools import partial

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.refusals import RefusalCount
from meshwright.control_plane.api.models.requests import Cause, Explanation, ResponsiblePolicy
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.traces import ResponseFlag, ServiceSpanCount, Span, SpanKind, Trace
from tests.fakes.mesh_fixture import NOW


def revisions(newest: int) -> tuple[RevisionInfo, ...]:
    """Some revisions, newest first."""
    messages = (
        "tighter limits",
        "retry reads",
        "slow start for catalog",
        "weights back to even",
        "first policies",
    )
    return tuple(
        RevisionInfo(
            revision=newest - n,
            author="ada@workshop",
            time=NOW - 180 - 4_000 * n,
            message=message,
            changed=(DocumentChange(kind="CircuitBreaker", name="inventory-limits", action="changed"),),
        )
        for n, message in enumerate(messages)
    )


def span(  # noqa: PLR0917  a row of a table
    number: int,
    parent: int,
    depth: int,
    service: str,
    operation: str,
    start: float,
    duration: float,
    *,
    error: bool = False,
    attempt: int = 0,
    kind: SpanKind = "server",
    code: str = "200",
    flags: tuple[ResponseFlag, ...] = (),
    proxy: bool = True,
) -> Span:
    """A span; times in ms since the start of the trace."""
    return Span(
        id=f"{number:016x}",
        parent=f"{parent:016x}" if parent else "",
        depth=depth,
        service=service,
        instance=f"{service}-1",
        proxy=proxy,
        operation=operation,
        kind=kind,
        start=NOW - 9 + start / 1000,
        duration=duration,
        error=error,
        attempt=attempt,
        flags=flags,
        attributes={
            "http.status_code": code,
            "http.method": "POST",
            "user_agent": "wrk",
            **({"upstream_cluster.name": "inventory"} if kind == "client" and proxy else {}),
        },
    )


def traces() -> tuple[Trace, ...]:
    """A failed order with its retries, and some successful requests."""
    return (_failed_order(), *(_successful_request(number) for number in range(24)))


def _failed_order() -> Trace:
    tree = _failed_order_spans()
    return Trace(
        id="3f9a" + "1" * 28,
        service="ingress",
        operation="POST /api/orders",
        request="POST /api/orders",
        start=NOW - 9,
        duration=612,
        spans=len(tree),
        errors=7,
        tree=tree,
        services=(
            ServiceSpanCount(service="ingress", spans=1, errors=1),
            ServiceSpanCount(service="storefront", spans=1, errors=1),
            ServiceSpanCount(service="orders", spans=4, errors=3),
            ServiceSpanCount(service="inventory", spans=2, errors=2),
        ),
    )


def _failed_order_spans() -> tuple[Span, ...]:
    no_host = ResponseFlag(
        flag="UH", meaning="No healthy host was left to call.", kinds=("CircuitBreaker", "HealthCheck")
    )
    retry_limit = ResponseFlag(flag="URX", meaning="Its retries were used up.", kinds=("Retry",))
    failed = partial(span, error=True, code="503")
    reserve = partial(failed, service="orders", operation="inventory reserve", kind="client")
    return (
        failed(1, 0, 0, "ingress", "POST /api/orders", 0, 612),
        failed(2, 1, 1, "storefront", "POST /api/orders", 2, 608),
        failed(3, 2, 2, "orders", "POST /orders", 4, 604),
        reserve(4, 3, 3, start=8, duration=590, flags=(retry_limit,)),
        failed(5, 4, 4, "inventory", "POST /reserve", 10, 101),
        failed(6, 4, 4, "inventory", "POST /reserve", 160, 102, attempt=1),
        reserve(7, 4, 4, start=590, duration=0, attempt=2, flags=(no_host,)),
        span(8, 3, 3, "orders", "INSERT orders", 600, 3, kind="client", proxy=False),
    )


def _successful_request(number: int) -> Trace:
    return Trace(
        id=f"{number + 16:04x}" + "a" * 28,
        service="ingress",
        operation="GET /api/catalog/products",
        request="GET /api/catalog/products",
        start=NOW - 10 - number * 3,
        duration=6 + number % 7,
        spans=2,
        services=(
            ServiceSpanCount(service="ingress", spans=1),
            ServiceSpanCount(service="catalog", spans=1),
        ),
        tree=(
            span(1, 0, 0, "ingress", "GET /api/catalog/products", 0, 6 + number % 7),
            span(2, 1, 1, "catalog", "GET /products", 1, 4),
        ),
    )


def explanations(revision: int) -> dict[str, Explanation]:
    """Why the failed order failed: the circuit breaker had ejected every host."""
    policy = ResponsiblePolicy(
        kind="CircuitBreaker",
        name="inventory-limits",
        excerpt="maxRequests: 8",
        revision=revision,
        author="ada@workshop",
        message="tighter limits",
        time=NOW - 180,
    )
    cause = Cause(
        service="orders",
        proxy="orders-1",
        caller="orders",
        callee="inventory",
        status=503,
        flag="UH",
        message="No healthy host was left to call.",
        policies=(policy,),
    )
    failed = traces()[0]
    summary = "503 UH at orders → inventory: CircuitBreaker inventory-limits"
    why = Explanation(
        id=failed.id, trace=failed.id, time=failed.start, verdict="failed", summary=summary, causes=(cause,)
    )
    return {failed.id: why}


def events(revision: int) -> tuple[Event, ...]:
    """Some events, newest first."""
    rows = [
        ("breaker", "orders → inventory", "the circuit breaker opened: 2 of 2 hosts are out", "error", 0, ""),
        ("ejection", "orders → inventory", "2 of 2 hosts are taken out", "warning", 0, ""),
        ("instance", "inventory-2", "is unhealthy", "warning", 0, ""),
        (
            "revision",
            f"revision {revision}",
            "tighter limits: CircuitBreaker/inventory-limits changed",
            "info",
            revision,
            "ada@workshop",
        ),
        ("svid", "catalog-1", "got a new certificate, valid for 60 min", "info", 0, ""),
        ("sidecar", "trading-1", "connected", "info", 0, ""),
    ]
    return tuple(
        Event(
            id=f"{int((NOW - 4 - 30 * n) * 1000)}-0",
            time=NOW - 4 - 30 * n,
            kind=kind,
            subject=subject,
            message=message,
            severity=severity,
            revision=number,
            author=author,
        )
        for n, (kind, subject, message, severity, number, author) in enumerate(rows)
    )


def refusals() -> tuple[RefusalCount, ...]:
    """Orders calls inventory too often; others may not call it at all."""
    limited = RefusalCount(
        service="inventory",
        caller="orders",
        callee="inventory",
        policies=("RateLimit/inventory",),
        outcome="limited",
        per_s=2.4,
        total=1203,
        since=NOW - 500,
        last=NOW - 1,
        request="0af7651916cd",
    )
    denied = limited.model_copy(
        update={
            "caller": "catalog",
            "policies": ("Authorization/inventory",),
            "outcome": "denied",
            "per_s": 0.2,
            "total": 4,
            "last": NOW - 9,
        }
    )
    plaintext = denied.model_copy(
        update={"caller": "", "policies": (), "outcome": "handshake", "per_s": 0.0, "total": 1}
    )
    return limited, denied, plaintext
