"""The past of a made-up mesh: revisions, traces, events."""

from __future__ import annotations

from meshwright.control_plane.api.models.base import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.traces import ResponseFlag, ServiceSpanCount, Span, SpanKind, Trace
from tests.fakes.mesh_fixture import NOW


def revisions(newest: int) -> tuple[RevisionInfo, ...]:
    """Some history, newest first."""
    whys = (
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
            message=why,
            changed=(DocumentChange(kind="CircuitBreaker", name="inventory-limits", action="changed"),),
        )
        for n, why in enumerate(whys)
    )


def span(  # noqa: PLR0917  a line of a table
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
    """A span; times in ms from the trace's start."""
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
    """A failed order with its tries, and some that went well."""
    no_host = ResponseFlag(
        flag="UH", meaning="No healthy host was left to call.", kinds=("CircuitBreaker", "HealthCheck")
    )
    limit = ResponseFlag(flag="URX", meaning="Its retries were used up.", kinds=("Retry",))
    tree = (
        span(1, 0, 0, "ingress", "POST /api/orders", 0, 612, error=True, code="503"),
        span(2, 1, 1, "storefront", "POST /api/orders", 2, 608, error=True, code="503"),
        span(3, 2, 2, "orders", "POST /orders", 4, 604, error=True, code="503"),
        span(
            4,
            3,
            3,
            "orders",
            "inventory reserve",
            8,
            590,
            error=True,
            kind="client",
            code="503",
            flags=(limit,),
        ),
        span(5, 4, 4, "inventory", "POST /reserve", 10, 101, error=True, code="503"),
        span(6, 4, 4, "inventory", "POST /reserve", 160, 102, error=True, attempt=1, code="503"),
        span(
            7,
            4,
            4,
            "orders",
            "inventory reserve",
            590,
            0,
            error=True,
            attempt=2,
            kind="client",
            code="503",
            flags=(no_host,),
        ),
        span(8, 3, 3, "orders", "INSERT orders", 600, 3, kind="client", proxy=False),
    )
    failed = Trace(
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
    good = [
        Trace(
            id=f"{n + 16:04x}" + "a" * 28,
            service="ingress",
            operation="GET /api/catalog/products",
            request="GET /api/catalog/products",
            start=NOW - 10 - n * 3,
            duration=6 + n % 7,
            spans=2,
            services=(
                ServiceSpanCount(service="ingress", spans=1),
                ServiceSpanCount(service="catalog", spans=1),
            ),
            tree=(
                span(1, 0, 0, "ingress", "GET /api/catalog/products", 0, 6 + n % 7),
                span(2, 1, 1, "catalog", "GET /products", 1, 4),
            ),
        )
        for n in range(24)
    ]
    return (failed, *good)


def events(revision: int) -> tuple[Event, ...]:
    """What happened, newest first."""
    told = [
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
        for n, (kind, subject, message, severity, number, author) in enumerate(told)
    )
