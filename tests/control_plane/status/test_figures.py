"""The mesh as metrics: every state is told, also that of which there is none."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from meshwright.control_plane.api.models.base import (
    Breaker,
    ControlPlaneStatus,
    InstanceStatus,
    ProxyReport,
    ProxyStatus,
)
from meshwright.control_plane.status.prometheus import MeshCollector, MeshMetrics


def registry(figures: MeshMetrics) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(MeshCollector(lambda: figures, lambda: {"root": 2e9}))
    return made


def test_what_there_is_is_told() -> None:
    figures = MeshMetrics(
        revision=41,
        store_up=False,
        proxies=[
            ProxyStatus(name="orders-1", service="orders", state="synced", revision=41),
            ProxyStatus(name="orders-2", service="orders", state="rejected", revision=40),
        ],
        reports=[ProxyReport(node="orders-1", service="orders", expires=1_900_000_000.0)],
        instances=(InstanceStatus(name="orders-1", service="orders", address="h:1", health="unhealthy"),),
        breakers=(Breaker(from_="storefront", to="orders", state="open", ejected=2, hosts=2),),
        control_planes=(
            ControlPlaneStatus(address="a:1", state="this"),
            ControlPlaneStatus(address="b:1", state="silent"),
        ),
    )
    value = registry(figures).get_sample_value
    assert value("mesh_revision") == 41
    assert value("mesh_store_up") == 0
    assert value("mesh_planes_silent") == 1
    assert value("mesh_proxies", {"state": "rejected"}) == 1
    assert value("mesh_proxies", {"state": "pending"}) == 0
    named = {"service": "orders", "proxy": "orders-1"}
    assert value("mesh_proxy_certificate_expiry_timestamp_seconds", named) == 1_900_000_000
    assert value("mesh_instances", {"service": "orders", "health": "healthy"}) == 0
    assert value("mesh_instances", {"service": "orders", "health": "unhealthy"}) == 1
    edge = {"caller": "storefront", "callee": "orders"}
    assert value("mesh_breaker_state", {**edge, "state": "open"}) == 1
    assert value("mesh_breaker_state", {**edge, "state": "closed"}) == 0
    assert value("mesh_certificate_expiry_timestamp_seconds", {"certificate": "root"}) == 2e9


def test_nothing_is_asked_before_the_first_scrape() -> None:
    def ask() -> MeshMetrics:
        raise AssertionError("asked at registration")

    CollectorRegistry().register(MeshCollector(ask, dict))
