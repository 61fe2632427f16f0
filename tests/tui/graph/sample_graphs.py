"""Sample graphs: random ones, and typical meshes."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from meshwright.tui.graph.graph import Graph, Link

_DEMO_CALLS = {
    "ingress": (
        "analytics", "catalog", "inbox", "inventory", "legacy", "mobile", "nfts", "notifications", "orders",
        "payments", "storefront", "trading", "users",
    ),
    "storefront": (
        "catalog", "inbox", "inventory", "legacy", "mobile", "nfts", "notifications", "orders", "payments",
        "storefront", "users",
    ),
    "orders": ("broker", "catalog", "inventory", "payments"),
    "nfts": ("analytics", "trading"),
    "trading": ("analytics", "catalog"),
    "mobile": ("catalog", "inbox"),
    "notifications": ("broker", "inbox"),
    "legacy": ("trading",),
    "users": ("broker",),
    "inventory": ("broker",),
    "analytics": ("broker",),
}  # fmt: skip
DEMO = Graph(
    nodes=tuple(sorted({*_DEMO_CALLS, *(callee for callees in _DEMO_CALLS.values() for callee in callees)})),
    links=tuple((caller, callee) for caller, callees in _DEMO_CALLS.items() for callee in callees),
    roots=frozenset({"ingress"}),
)
"""The demo with all of its calls."""

EXCHANGE = Graph(
    nodes=("analytics", "catalog", "ingress", "inventory", "orders", "storefront", "trading"),
    links=(
        ("ingress", "storefront"),
        ("ingress", "orders"),
        ("ingress", "trading"),
        ("storefront", "catalog"),
        ("storefront", "orders"),
        ("orders", "catalog"),
        ("orders", "inventory"),
        ("analytics", "catalog"),
    ),
    roots=frozenset({"ingress"}),
)

SHOP = Graph(
    nodes=(
        "catalog", "ingress", "inventory", "ledger", "mail", "orders", "payments", "search", "shipping",
        "storefront", "trading", "users",
    ),
    links=(
        ("ingress", "storefront"), ("ingress", "trading"), ("ingress", "orders"), ("ingress", "search"),
        ("storefront", "catalog"), ("storefront", "users"), ("storefront", "orders"),
        ("trading", "orders"), ("trading", "ledger"),
        ("orders", "inventory"), ("orders", "payments"), ("orders", "catalog"), ("orders", "shipping"),
        ("shipping", "mail"), ("payments", "ledger"), ("payments", "orders"),
        ("search", "catalog"), ("users", "mail"), ("mail", "mail"),
    ),
    roots=frozenset({"ingress"}),
)  # fmt: skip
"""Twelve services, with a cycle and a self-call."""


@st.composite
def shapes(draw: st.DrawFn, most: int = 12) -> Graph:
    """Any graph: cycles, self-calls, several components, any number of roots."""
    count = draw(st.integers(0, most))
    names = [f"n{n}" for n in range(count)]
    ends = st.sampled_from(names) if names else st.nothing()
    links = draw(st.lists(st.tuples(ends, ends), max_size=3 * most)) if names else []
    roots = draw(st.sets(ends, max_size=2)) if names else set()
    width = {name: draw(st.integers(1, 60)) for name in names}
    return Graph(tuple(names), tuple(links), frozenset(roots), width)


def tiered(count: int, links: int, seed: int = 1) -> Graph:
    """Services in tiers behind an ingress; most call the next tier, a few an earlier one."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, no secret
    names = [f"service-{n:03}" for n in range(count)]
    tier = {name: min(5, int(6 * n / count)) for n, name in enumerate(names)}
    links_so_far: set[Link] = {("ingress", name) for name in names if not tier[name]}
    for n, name in enumerate(names):
        if tier[name]:
            links_so_far.add(
                (dice.choice([caller for caller in names[:n] if tier[caller] < tier[name]]), name)
            )
    while len(links_so_far) < links:
        a, b = dice.sample(names, 2)
        if 0 < tier[b] - tier[a] <= 2 or dice.random() < 0.02:
            links_so_far.add((a, b))
    return Graph(("ingress", *names), tuple(sorted(links_so_far)), frozenset({"ingress"}))
