"""Reports are kept for their life, apart by identity, and not without bound."""

from __future__ import annotations

import pytest

from meshwright.control_plane.agents import reports
from meshwright.control_plane.agents.reports import REPORT_TTL, ProxyReports
from meshwright.control_plane.api.models.base import ClusterReport, ProxyReport
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import PermissionDeniedError

ORDERS = Identity("mesh.local", "service", "orders")
GATEWAY = Identity("mesh.local", "gateway", "orders")


def report(node: str = "orders-1", memory: int = 0) -> ProxyReport:
    return ProxyReport(node=node, service="orders", memory=memory)


def test_the_newest_counts_until_its_life_is_over() -> None:
    kept = ProxyReports()
    kept.record(ORDERS, report(memory=1), 100.0)
    kept.record(ORDERS, report(memory=2), 103.0)
    kept.record(ORDERS, report("orders-2"), 101.0)
    assert {one.node: one.memory for one in kept.current(103.0)} == {"orders-1": 2, "orders-2": 0}
    assert [one.node for one in kept.current(101.0 + REPORT_TTL)] == ["orders-1"]
    assert kept.current(103.0 + REPORT_TTL) == ()


def test_nobody_speaks_for_a_proxy_of_another_identity() -> None:
    kept = ProxyReports()
    kept.record(ORDERS, report(memory=1), 0)
    kept.record(GATEWAY, report(memory=2), 0)
    assert sorted(one.memory for one in kept.current(0)) == [1, 2]


def test_one_identity_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "NODES_LIMIT", 2)
    kept = ProxyReports()
    kept.record(ORDERS, report("a"), 0)
    kept.record(ORDERS, report("b"), 1)
    with pytest.raises(PermissionDeniedError, match="more than 2 proxies"):
        kept.record(ORDERS, report("c"), 2)
    kept.record(ORDERS, report("a"), 2)
    kept.record(GATEWAY, report("c"), 2)
    kept.record(ORDERS, report("c"), 1 + REPORT_TTL)
    assert sorted(one.node for one in kept.current(1 + REPORT_TTL)) == ["a", "c", "c"]


def test_what_is_not_well_is_told_apart() -> None:
    kept = ProxyReports()
    identity = Identity("mesh.local", "service", "front")
    well, bad = ClusterReport(cluster="well", hosts=2), ClusterReport(cluster="bad", hosts=2, ejected=1)
    for node, clusters in (("front-1", (well, bad)), ("front-2", (well,))):
        kept.record(identity, ProxyReport(node=node, service="front", clusters=clusters), 0)
    assert [(one.node, one.clusters) for one in kept.unhealthy(1)] == [("front-1", (bad,))]
    assert len(kept.current(1)) == 2
    assert kept.unhealthy(REPORT_TTL) == ()
