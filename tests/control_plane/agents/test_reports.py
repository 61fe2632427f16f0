"""Reports expire, are stored apart by identity, and are limited in number."""

from __future__ import annotations

import pytest

from meshwright.control_plane.agents import reports
from meshwright.control_plane.agents.reports import REPORT_TTL, ProxyReports
from meshwright.control_plane.api.models.proxies import ClusterReport, ProxyReport
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import PermissionDeniedError

ORDERS = Identity("mesh.local", "service", "orders")
GATEWAY = Identity("mesh.local", "gateway", "orders")


def report(node: str = "orders-1", memory: int = 0) -> ProxyReport:
    return ProxyReport(node=node, service="orders", memory=memory)


def test_current_returns_the_latest_report_until_it_expires() -> None:
    stored = ProxyReports()
    stored.record(ORDERS, report(memory=1), 100.0)
    stored.record(ORDERS, report(memory=2), 103.0)
    stored.record(ORDERS, report("orders-2"), 101.0)
    assert {report.node: report.memory for report in stored.current(103.0)} == {"orders-1": 2, "orders-2": 0}
    assert [report.node for report in stored.current(101.0 + REPORT_TTL)] == ["orders-1"]
    assert stored.current(103.0 + REPORT_TTL) == ()


def test_record_same_node_of_two_identities_keeps_both() -> None:
    stored = ProxyReports()
    stored.record(ORDERS, report(memory=1), 0)
    stored.record(GATEWAY, report(memory=2), 0)
    assert sorted(report.memory for report in stored.current(0)) == [1, 2]


def test_record_too_many_proxies_of_one_identity_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_PROXIES_PER_IDENTITY", 2)
    stored = ProxyReports()
    stored.record(ORDERS, report("a"), 0)
    stored.record(ORDERS, report("b"), 1)
    with pytest.raises(PermissionDeniedError, match="more than 2 proxies"):
        stored.record(ORDERS, report("c"), 2)
    stored.record(ORDERS, report("a"), 2)
    stored.record(GATEWAY, report("c"), 2)
    stored.record(ORDERS, report("c"), 1 + REPORT_TTL)
    assert sorted(report.node for report in stored.current(1 + REPORT_TTL)) == ["a", "c", "c"]


def test_unhealthy_returns_only_unhealthy_clusters() -> None:
    stored = ProxyReports()
    identity = Identity("mesh.local", "service", "front")
    healthy, ejected = (
        ClusterReport(cluster="healthy", hosts=2),
        ClusterReport(cluster="ejected", hosts=2, ejected=1),
    )
    for node, clusters in (("front-1", (healthy, ejected)), ("front-2", (healthy,))):
        stored.record(identity, ProxyReport(node=node, service="front", clusters=clusters), 0)
    assert [(report.node, report.clusters) for report in stored.unhealthy(1)] == [("front-1", (ejected,))]
    assert len(stored.current(1)) == 2
    assert stored.unhealthy(REPORT_TTL) == ()
