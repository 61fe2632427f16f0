"""Meshes as the admin API tells them, without a mesh: for the dashboard's tests and pictures.

Everything hangs on `NOW`, so that two makings of a scenario are equal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from control_plane.api.guard import Rights
from control_plane.api.happened import Event
from control_plane.api.seen import Edge, Node, NodeHealth, ServiceRow, Services, Topology, Trend
from control_plane.api.traced import FlagMeaning, ServiceShare, Span, SpanKind, Trace
from control_plane.api.types import (
    Breaker,
    BreakerState,
    Change,
    Condition,
    InstanceStatus,
    PolicyStatus,
    ProxyDetail,
    ProxyStatus,
    RevisionInfo,
    ServiceStatus,
    Status,
)

NOW = 1_795_271_527.0
"""Seconds since the epoch at which every scenario is looked at: 2026-11-21 14:32:07 UTC."""

POLICIES = Path(__file__).resolve().parents[2] / "services" / "policies"
STEPS = 56
STEP = 16.0


@dataclass(frozen=True)
class World:
    """All that the admin API would tell. `documents` are those of the newest revision."""

    revision: int = 1
    topology: Topology = field(default_factory=Topology)
    services: Services = field(default_factory=Services)
    proxies: tuple[ProxyDetail, ...] = ()
    instances: tuple[InstanceStatus, ...] = ()
    documents: tuple[dict[str, Any], ...] = ()
    conditions: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    revisions: tuple[RevisionInfo, ...] = ()
    traces: tuple[Trace, ...] = ()
    events: tuple[Event, ...] = ()
    rights: Rights = "all"

    @property
    def status(self) -> Status:
        """Derived from the rest, as the control plane does."""
        rows = [row for row in self.services.services if row.role == "service"]
        policies = []
        taken = sum(proxy.state == "synced" for proxy in self.proxies)
        for document in self.documents:
            kind, name = document["kind"], document["metadata"]["name"]
            known = self.conditions.get(f"{kind}/{name}", self._programmed())
            policies.append(
                PolicyStatus(kind=kind, name=name, conditions=known, holders=len(self.proxies), acked=taken)
            )
        states = {"closed": 0, "partial": 1, "open": 2}
        breakers = [
            Breaker(from_=edge.from_, to=edge.to, state=edge.breaker, ejected=edge.ejected, hosts=2)
            for edge in sorted(self.topology.edges, key=lambda edge: -states[edge.breaker])
        ]
        return Status(
            rights=self.rights,
            revision=self.revision,
            store="ok",
            services=tuple(
                ServiceStatus(name=row.name, instances=row.instances, healthy=row.healthy) for row in rows
            ),
            proxies=tuple(
                ProxyStatus(**proxy.model_dump(include=set(ProxyStatus.model_fields)))
                for proxy in self.proxies
            ),
            policies=tuple(policies),
            breakers=tuple(breakers),
        )

    def _programmed(self) -> tuple[Condition, ...]:
        taken = sum(proxy.state == "synced" for proxy in self.proxies)
        words = f"ACKed by {taken} of {len(self.proxies)} sidecars"
        return (
            Condition(type="Accepted", status="True", reason="Accepted"),
            Condition(
                type="Programmed",
                status="True" if taken == len(self.proxies) else "False",
                reason="Programmed" if taken == len(self.proxies) else "Pending",
                message=words,
            ),
        )


def edge(
    caller: str,
    callee: str,
    rps: float,
    success: float = 1.0,
    p99: float = 20.0,
    *,
    retries: float = 0.0,
    breaker: BreakerState = "closed",
    protocol: str = "http",
    ejected: int = 0,
) -> Edge:
    """One edge; p50 and p95 follow from p99."""
    return Edge(
        from_=caller,
        to=callee,
        protocol=protocol,
        rps=rps,
        success=success,
        p50_ms=p99 / 6,
        p95_ms=p99 / 2,
        p99_ms=p99,
        retries_per_s=retries,
        breaker=breaker,
        ejected=ejected,
        mtls=True,
    )


def trend(rps: float, success: float, p99: float, *, broken: int = 0) -> Trend:
    """Fifteen minutes: gentle waves, and `broken` newest steps in which things go wrong."""
    waves = [1 + 0.15 * math.sin(n / 4) for n in range(STEPS)]
    bad = [n >= STEPS - broken for n in range(STEPS)]
    return Trend(
        step=STEP,
        rps=tuple(round(rps * wave, 2) for wave in waves),
        failures_per_s=tuple(round(rps * (1 - success) * (1 if b else 0.02), 3) for b in bad),
        p99_ms=tuple(
            round(p99 * wave * (1 if b or not broken else 0.3), 1) for wave, b in zip(waves, bad, strict=True)
        ),
    )


def rows(topology: Topology, broken: Mapping[str, int] | None = None) -> Services:
    """The table of services that belongs to a topology."""
    made: list[ServiceRow] = []
    order = ("closed", "partial", "open")
    for node in topology.nodes:
        calls = [e for e in topology.edges if (e.from_ if node.role == "gateway" else e.to) == node.name]
        rps = sum(e.rps for e in calls)
        success = 1 - sum(e.rps * (1 - e.success) for e in calls) / rps if rps else 1.0
        p99 = max((e.p99_ms for e in calls), default=0.0)
        made.append(
            ServiceRow(
                name=node.name,
                role=node.role,
                health=node.health,
                rps=rps,
                success=success,
                p50_ms=p99 / 6,
                p95_ms=p99 / 2,
                p99_ms=p99,
                retries_per_s=sum(e.retries_per_s for e in calls),
                breaker=max((e.breaker for e in calls), key=order.index, default="closed"),
                ejected=max((e.ejected for e in calls), default=0),
                instances=node.instances,
                healthy=node.healthy,
                mtls=True,
                history=trend(rps, success, p99, broken=(broken or {}).get(node.name, 0)),
            )
        )
    return Services(services=tuple(sorted(made, key=lambda row: row.name)))


def node(name: str, health: NodeHealth = "healthy", healthy: int = 1, instances: int = 1) -> Node:
    """A service; the one called ingress is a gateway."""
    if name == "ingress":
        return Node(name=name, role="gateway", health=health)
    return Node(name=name, health=health, instances=instances, healthy=healthy)


def proxies(nodes: Sequence[Node], revision: int) -> tuple[ProxyDetail, ...]:
    """A proxy for each instance, all well."""
    made: list[ProxyDetail] = []
    for each in nodes:
        names = [f"{each.name}-{n + 1}" for n in range(each.instances)] or [each.name]
        made += [
            ProxyDetail(
                name=name,
                service=each.name,
                state="synced",
                revision=revision,
                connected=True,
                reported=True,
                version="1.40.0",
                memory=31_500_000 + 1_000 * len(made),
                expires=NOW + 2_700,
                uptime=8_000,
            )
            for name in names
        ]
    return tuple(made)


def instances(nodes: Sequence[Node]) -> tuple[InstanceStatus, ...]:
    """Every instance of the services, the last of each being ill where not all are healthy."""
    return tuple(
        InstanceStatus(
            name=f"{each.name}-{n + 1}",
            service=each.name,
            address=f"127.0.0.1:{21000 + 10 * at + n}",
            labels={"version": f"v{n + 1}"},
            health="healthy" if n < each.healthy else "unhealthy",
        )
        for at, each in enumerate(nodes)
        for n in range(each.instances)
    )


def documents() -> tuple[dict[str, Any], ...]:
    """The policies of the exchange and the breaker that the scenario is about."""
    found: list[dict[str, Any]] = []
    for path in sorted(POLICIES.glob("*.yaml")):
        found += [dict(one) for one in YAML(typ="safe").load_all(path.read_text()) if one]
    limits = {
        "apiVersion": "meshwright.io/v1",
        "kind": "CircuitBreaker",
        "metadata": {"name": "inventory-limits"},
        "spec": {
            "targetRefs": [{"kind": "Service", "name": "inventory"}],
            "consecutiveFailures": 5,
            "openFor": "60s",
            "maxRequests": 8,
        },
    }
    return tuple(sorted([*found, limits], key=lambda one: (one["kind"], one["metadata"]["name"])))


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
            why=why,
            changed=(Change(kind="CircuitBreaker", name="inventory-limits", action="changed"),),
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
    flags: tuple[FlagMeaning, ...] = (),
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
    no_host = FlagMeaning(
        flag="UH", meaning="No healthy host was left to call.", kinds=("CircuitBreaker", "HealthCheck")
    )
    limit = FlagMeaning(flag="URX", meaning="Its retries were used up.", kinds=("Retry",))
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
            ServiceShare(service="ingress", spans=1, errors=1),
            ServiceShare(service="storefront", spans=1, errors=1),
            ServiceShare(service="orders", spans=4, errors=3),
            ServiceShare(service="inventory", spans=2, errors=2),
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
            services=(ServiceShare(service="ingress", spans=1), ServiceShare(service="catalog", spans=1)),
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


def exchange() -> World:
    """The exchange in trouble: inventory fails, orders suffers, the breaker between them is open."""
    nodes = (
        node("ingress"),
        node("storefront"),
        node("trading"),
        node("orders", "degraded", 2, 2),
        node("catalog"),
        node("inventory", "unhealthy", 1, 2),
        node("analytics"),
        node("warehouse", "unknown"),
    )
    edges = (
        edge("ingress", "storefront", 79.2, 0.999, 48),
        edge("ingress", "orders", 41.0, 0.98, 210, retries=0.4),
        edge("ingress", "trading", 120, 1.0, 12),
        edge("ingress", "catalog", 38.1, 1.0, 18),
        edge("storefront", "catalog", 38, 1.0, 21),
        edge("storefront", "orders", 41, 0.98, 210),
        edge("orders", "catalog", 41, 1.0, 16),
        edge("orders", "inventory", 12.4, 0.61, 502, retries=9.1, breaker="open", ejected=2),
        edge("trading", "analytics", 200, 1.0, 6, protocol="grpc"),
    )
    topology = Topology(nodes=nodes, edges=edges)
    made = list(proxies(nodes, 41))
    return World(
        revision=41,
        topology=topology,
        services=rows(topology, {"inventory": 11, "orders": 11}),
        proxies=tuple(made),
        instances=instances(nodes),
        documents=documents(),
        revisions=revisions(41),
        traces=traces(),
        events=events(41),
    )


def empty() -> World:
    """A mesh that just started: nothing has joined."""
    return World(revision=0)


def one() -> World:
    """One service that nobody calls."""
    topology = Topology(nodes=(node("solo", "unknown"),))
    return World(
        topology=topology,
        services=rows(topology),
        proxies=proxies(topology.nodes, 1),
        instances=instances(topology.nodes),
        revisions=revisions(1)[:1],
    )


def many(count: int) -> World:
    """`count` services behind an ingress, each calling up to three others; some in trouble."""
    names = [f"service-{n:04d}" for n in range(count)]
    health: list[NodeHealth] = [*(("healthy",) * 17), "degraded", "unhealthy", "unknown"]
    nodes = [node("ingress"), *(node(name, health[n % 20]) for n, name in enumerate(names))]
    edges = [edge("ingress", name, 30 + n) for n, name in enumerate(names[:5])]
    for n, name in enumerate(names):
        callees = sorted({(n * 3 + k) % count for k in (5, 6, 7)} - {n})
        edges += [
            edge(name, names[k], 1 + (n * 7 + k) % 90, 1 - 0.03 * (k % 20 in (17, 18)), 5 + k % 300)
            for k in callees
            if k > n
        ]
    topology = Topology(nodes=tuple(nodes), edges=tuple(edges))
    return World(
        topology=topology,
        services=rows(topology),
        proxies=proxies(nodes, 1),
        instances=instances(nodes),
        documents=documents(),
        revisions=revisions(1)[:1],
    )


def bad() -> World:
    """All fails: names of 60 letters, words that are not ASCII, markup and control characters."""
    long = "a" + "-very-long-name" * 4
    nodes = [
        node("ingress", "unhealthy"),
        node(long[:60], "unhealthy", 0, 3),
        node("b" * 60, "unhealthy", 0, 2),
    ]
    names = [each.name for each in nodes]
    edges = [
        edge(names[0], names[1], 123_456, 0.0, 59_999, retries=4_000, breaker="open", ejected=3),
        edge(names[1], names[2], 0.004, 0.0, 0.4, breaker="partial", ejected=1),
        edge(names[2], names[1], 3, 0.999_999, 1_000),
    ]
    topology = Topology(nodes=tuple(nodes), edges=tuple(edges))
    refused = "Proto constraint validation failed: [bold]Wörter 語句 ✖ \x1b[31mred\x1b[0m\nsecond line " * 3
    made = [
        p.model_copy(
            update={"state": state, "error": refused if state == "rejected" else "", "expires": NOW - 5}
        )
        for p, state in zip(proxies(nodes, 3), ["rejected", "disconnected", "pending"] * 3, strict=False)
    ]
    told = Event(
        id="1-0",
        time=NOW - 1,
        kind="nack",
        subject="b" * 60,
        message=refused[:900],
        severity="error",
        author="Zoë 山田",
        revision=3,
    )
    history = RevisionInfo(revision=3, author="Zoë 山田", time=NOW - 60, why="[red]Größe 語 " * 8)
    return replace(
        World(topology=topology, services=rows(topology), instances=instances(nodes), documents=documents()),
        revision=3,
        proxies=tuple(made),
        events=(told,),
        revisions=(history,),
        traces=traces(),
    )


def config_dump(world: World) -> tuple[dict[str, Any], ...]:
    """A sidecar's configuration in the form of Envoy's dump, with a cluster for each service."""
    types = "type.googleapis.com/envoy.admin.v3"
    clusters = [
        {
            "version_info": f"{at:016x}",
            "cluster": {
                "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": row.name,
                "type": "EDS",
                "connect_timeout": "1s",
                "circuit_breakers": {"thresholds": [{"max_requests": 8, "track_remaining": True}]},
            },
        }
        for at, row in enumerate(world.services.services)
    ]
    listener = {
        "name": "inbound",
        "active_state": {"listener": {"name": "inbound", "address": {"port": 15006}}},
    }
    return (
        {"@type": f"{types}.ClustersConfigDump", "version_info": "1", "dynamic_active_clusters": clusters},
        {"@type": f"{types}.ListenersConfigDump", "dynamic_listeners": [listener]},
        {"@type": f"{types}.RoutesConfigDump"},
    )


SCENARIOS: Mapping[str, Callable[[], World]] = {
    "exchange": exchange,
    "empty": empty,
    "one": one,
    "many": lambda: many(100),
    "thousand": lambda: many(1000),
    "bad": bad,
}
