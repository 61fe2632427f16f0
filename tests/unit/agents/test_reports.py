"""Reports are kept for their life, apart by identity, and not without bound."""

from __future__ import annotations

import pytest

from control_plane.agents import reports
from control_plane.agents.reports import LIFE, Reports
from control_plane.api.spiffe import Identity
from control_plane.api.types import ClusterReport, ProxyReport
from control_plane.errors import RefusedError

ORDERS = Identity("mesh.local", "service", "orders")
GATEWAY = Identity("mesh.local", "gateway", "orders")


def report(node: str = "orders-1", memory: int = 0) -> ProxyReport:
    return ProxyReport(node=node, service="orders", memory=memory)


def test_the_newest_counts_until_its_life_is_over() -> None:
    kept = Reports()
    kept.note(ORDERS, report(memory=1), 100.0)
    kept.note(ORDERS, report(memory=2), 103.0)
    kept.note(ORDERS, report("orders-2"), 101.0)
    assert {one.node: one.memory for one in kept.current(103.0)} == {"orders-1": 2, "orders-2": 0}
    assert [one.node for one in kept.current(101.0 + LIFE)] == ["orders-1"]
    assert kept.current(103.0 + LIFE) == ()


def test_nobody_speaks_for_a_proxy_of_another_identity() -> None:
    kept = Reports()
    kept.note(ORDERS, report(memory=1), 0)
    kept.note(GATEWAY, report(memory=2), 0)
    assert sorted(one.memory for one in kept.current(0)) == [1, 2]


def test_one_identity_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "NODES_LIMIT", 2)
    kept = Reports()
    kept.note(ORDERS, report("a"), 0)
    kept.note(ORDERS, report("b"), 1)
    with pytest.raises(RefusedError, match="more than 2 proxies"):
        kept.note(ORDERS, report("c"), 2)
    kept.note(ORDERS, report("a"), 2)
    kept.note(GATEWAY, report("c"), 2)
    kept.note(ORDERS, report("c"), 1 + LIFE)
    assert sorted(one.node for one in kept.current(1 + LIFE)) == ["a", "c", "c"]


def test_what_is_not_well_is_told_apart() -> None:
    kept = Reports()
    identity = Identity("mesh.local", "service", "front")
    well, bad = ClusterReport(cluster="well", hosts=2), ClusterReport(cluster="bad", hosts=2, ejected=1)
    for node, clusters in (("front-1", (well, bad)), ("front-2", (well,))):
        kept.note(identity, ProxyReport(node=node, service="front", clusters=clusters), 0)
    assert [(one.node, one.clusters) for one in kept.troubled(1)] == [("front-1", (bad,))]
    assert len(kept.current(1)) == 2
    assert kept.troubled(LIFE) == ()
