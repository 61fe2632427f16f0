"""Meshes that a fake admin API serves, for the dashboard's tests and screenshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.topology import NodeHealth, Topology
from tests.fakes.fixture_history import events, explanations, refusals, revisions, traces
from tests.fakes.fixture_parts import documents, edge, instances, node, proxies, rows
from tests.fakes.mesh_fixture import NOW, MeshFixture


def exchange() -> MeshFixture:
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
        edge("ingress", "orders", 41.0, 0.93, 210, retries=0.4),
        edge("ingress", "trading", 120, 1.0, 12),
        edge("ingress", "catalog", 38.1, 1.0, 18),
        edge("storefront", "catalog", 38, 1.0, 21),
        edge("storefront", "orders", 41, 0.93, 210),
        edge("orders", "catalog", 41, 1.0, 16),
        edge("orders", "inventory", 12.4, 0.39, 502, retries=9.1, breaker="open", ejected=2),
        edge("trading", "analytics", 200, 1.0, 6, protocol="grpc"),
    )
    topology = Topology(nodes=nodes, edges=edges)
    return MeshFixture(
        revision=41,
        topology=topology,
        services=rows(topology, {"inventory": 11, "orders": 11}),
        proxies=proxies(nodes, 41),
        instances=instances(nodes),
        documents=documents(),
        revisions=revisions(41),
        traces=traces(),
        events=events(41),
        explanations=explanations(41),
        refusals=refusals(),
    )


def shop() -> MeshFixture:
    """Twelve services in five tiers, orders in trouble: must fit on a small terminal."""
    nodes = (
        *(node(name) for name in ("ingress", "storefront", "trading", "search", "users", "catalog")),
        *(node(name) for name in ("payments", "shipping", "ledger", "mail")),
        node("orders", "degraded", 2, 2),
        node("inventory", "unhealthy", 1, 2),
    )
    edges = (
        edge("ingress", "storefront", 412, 1.0, 48),
        edge("ingress", "trading", 38.2),
        edge("ingress", "orders", 9.1, 0.93, 502),
        edge("ingress", "search", 0.4),
        edge("storefront", "catalog", 1240),
        edge("storefront", "users", 38),
        edge("storefront", "orders", 21, 0.93, 210),
        edge("trading", "orders", 9.1, 0.93, 210),
        edge("trading", "ledger", 38, protocol="grpc"),
        edge("orders", "inventory", 12.4, 0.39, 502, retries=9.1, breaker="open", ejected=2),
        edge("orders", "payments", 27),
        edge("orders", "catalog", 0.04),
        edge("orders", "shipping", 26),
        edge("shipping", "mail", 26),
        edge("payments", "ledger", 27),
        edge("payments", "orders", 2, 0.93),
        edge("search", "catalog", 0.4),
        edge("users", "mail", 1.2),
        edge("mail", "mail", 3),
    )
    topology = Topology(nodes=nodes, edges=edges)
    return MeshFixture(topology=topology, services=rows(topology), proxies=proxies(nodes, 1))


def empty() -> MeshFixture:
    """A mesh that just started: nothing has joined."""
    return MeshFixture(revision=0)


def single_service() -> MeshFixture:
    """One service without callers."""
    topology = Topology(nodes=(node("solo", "unknown"),))
    return MeshFixture(
        topology=topology,
        services=rows(topology),
        proxies=proxies(topology.nodes, 1),
        instances=instances(topology.nodes),
        revisions=revisions(1)[:1],
    )


def many(count: int) -> MeshFixture:
    """`count` services behind an ingress, each calling up to three others; some in trouble."""
    names = [f"service-{n:04d}" for n in range(count)]
    health: list[NodeHealth] = [*(("healthy",) * 17), "degraded", "unhealthy", "unknown"]
    nodes = [node("ingress"), *(node(name, health[n % 20]) for n, name in enumerate(names))]
    edges = [edge("ingress", name, 30 + n) for n, name in enumerate(names[:5])]
    for n, name in enumerate(names):
        callees = sorted({(n * 3 + k) % count for k in (5, 6, 7)} - {n})
        edges += [
            edge(name, names[k], 1 + (n * 7 + k) % 90, 1 - 0.08 * (k % 20 in (17, 18)), 5 + k % 300)
            for k in callees
            if k > n
        ]
    topology = Topology(nodes=tuple(nodes), edges=tuple(edges))
    return MeshFixture(
        topology=topology,
        services=rows(topology),
        proxies=proxies(nodes, 1),
        instances=instances(nodes),
        documents=documents(),
        revisions=revisions(1)[:1],
    )


TEAMS = ("shop", "pay", "stock", "user", "ship", "data")
ROLES = ("api", "web", "worker", "cache", "search", "rules", "feed", "store", "sync", "mail")


def crowded() -> MeshFixture:
    """60 services behind an ingress with 200 edges, more than anybody can follow; some in trouble."""
    names = [f"{team}-{role}" for role in ROLES for team in TEAMS]
    pairs = [(n, n + step) for step in (2, 5, 9, 13) for n in range(len(names) - step)][:195]
    health: list[NodeHealth] = [*(("healthy",) * 17), "degraded", "unhealthy", "unknown"]
    nodes = [node("ingress"), *(node(name, health[n % 20]) for n, name in enumerate(names))]
    edges = [edge("ingress", name, 30 + n) for n, name in enumerate(names[:5])]
    edges += [
        edge(names[a], names[b], 1 + (a * 7 + b) % 90, 1 - 0.08 * (b % 20 == 18), 5 + (a + b) % 300)
        for a, b in pairs
    ]
    topology = Topology(nodes=tuple(nodes), edges=tuple(edges))
    return MeshFixture(
        topology=topology,
        services=rows(topology),
        proxies=proxies(nodes, 1),
        instances=instances(nodes),
        documents=documents(),
        revisions=revisions(1)[:1],
    )


def broken() -> MeshFixture:
    """Everything fails; names of 60 letters, text with non-ASCII, markup and control characters."""
    long = "a" + "-very-long-name" * 4
    nodes = [
        node("ingress", "unhealthy"),
        node(long[:60], "unhealthy", 0, 3),
        node("b" * 60, "unhealthy", 0, 2),
    ]
    names = [node.name for node in nodes]
    edges = [
        edge(names[0], names[1], 123_456, 0.0, 59_999, retries=4_000, breaker="open", ejected=3),
        edge(names[1], names[2], 0.004, 0.0, 0.4, breaker="partial", ejected=1),
        edge(names[2], names[1], 3, 0.999_999, 1_000),
    ]
    topology = Topology(nodes=tuple(nodes), edges=tuple(edges))
    error = "Proto constraint validation failed: [bold]Wörter 語句 × \x1b[31mred\x1b[0m\nsecond line " * 3
    details = [
        proxy.model_copy(
            update={"state": state, "error": error if state == "rejected" else "", "expires": NOW - 5}
        )
        for proxy, state in zip(proxies(nodes, 3), ["rejected", "disconnected", "pending"] * 3, strict=False)
    ]
    nack = Event(
        id="1-0",
        time=NOW - 1,
        kind="nack",
        subject="b" * 60,
        message=error[:900],
        severity="error",
        author="Zoë 山田",
        revision=3,
    )
    revision = RevisionInfo(revision=3, author="Zoë 山田", time=NOW - 60, message="[red]Größe 語 " * 8)
    return replace(
        MeshFixture(
            topology=topology, services=rows(topology), instances=instances(nodes), documents=documents()
        ),
        revision=3,
        proxies=tuple(details),
        events=(nack,),
        revisions=(revision,),
        traces=traces(),
    )


SCENARIOS: Mapping[str, Callable[[], MeshFixture]] = {
    "exchange": exchange,
    "shop": shop,
    "empty": empty,
    "one": single_service,
    "many": lambda: many(100),
    "crowded": crowded,
    "thousand": lambda: many(1000),
    "bad": broken,
}
