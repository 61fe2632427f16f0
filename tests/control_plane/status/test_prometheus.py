"""The state of the mesh as metrics: every label value is exported, even at zero."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.models.status import ControlPlaneStatus
from meshwright.control_plane.api.models.topology import Breaker
from meshwright.control_plane.policies.rollout.progress import RolloutProgress
from meshwright.control_plane.policies.rollout.spec import Rollout
from meshwright.control_plane.status.prometheus import MeshCollector, MeshMetrics

PAUSED = Rollout.model_validate(
    {
        "apiVersion": "meshwright.io/v1",
        "kind": "Rollout",
        "metadata": {
            "name": "v2",
            "annotations": RolloutProgress(1, "Paused", 5.0, "by hand").annotations(),
        },
        "spec": {
            "route": {"name": "orders"},
            "stable": {"name": "orders"},
            "canary": {"name": "orders-next"},
            "steps": [{"weight": 25}],
        },
    }
)


def registry_of(metrics: MeshMetrics) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(MeshCollector(lambda: metrics, lambda: {"root": 2e9}))
    return registry


def test_scrape_exports_every_state() -> None:
    metrics = MeshMetrics(
        version="0.2.0",
        revision=41,
        store_up=False,
        proxies=[
            ProxyStatus(name="orders-1", service="orders", state="synced", revision=41),
            ProxyStatus(name="orders-2", service="orders", state="rejected", revision=40),
        ],
        reports=[
            ProxyReport(node="orders-1", service="orders", expires=1_900_000_000.0, version="1.40.0"),
            ProxyReport(node="orders-2", service="orders", agent="0.1.0", version="1.40.0"),
        ],
        instances=(InstanceStatus(name="orders-1", service="orders", address="h:1", health="unhealthy"),),
        breakers=(
            Breaker(from_="storefront", to="orders", state="open", ejected=2, hosts=2, trials_failed=3),
        ),
        crashed=("gone",),
        rollouts=(PAUSED,),
        control_planes=(
            ControlPlaneStatus(address="a:1", state="this"),
            ControlPlaneStatus(address="b:1", state="unreachable"),
        ),
    )
    value = registry_of(metrics).get_sample_value
    assert value("mesh_revision") == 41
    assert value("mesh_store_up") == 0
    assert value("mesh_control_planes_unreachable") == 1
    parts = {
        ("control plane", "0.2.0"): 1, ("agent", "0.1.0"): 1, ("agent", "unknown"): 1, ("Envoy", "1.40.0"): 2,
    }  # fmt: skip
    for (component, version), count in parts.items():
        assert value("mesh_parts", {"component": component, "version": version}) == count, component
    assert value("mesh_proxies", {"state": "rejected"}) == 1
    assert value("mesh_proxies", {"state": "pending"}) == 0
    proxy = {"service": "orders", "proxy": "orders-1"}
    assert value("mesh_proxy_certificate_expiry_timestamp_seconds", proxy) == 1_900_000_000
    assert value("mesh_instances", {"service": "orders", "health": "healthy"}) == 0
    assert value("mesh_instances", {"service": "orders", "health": "unhealthy"}) == 1
    assert value("mesh_instances", {"service": "gone", "health": "healthy"}) == 0, "for the alert"
    edge = {"caller": "storefront", "callee": "orders"}
    assert value("mesh_breaker_state", {**edge, "state": "open"}) == 1
    assert value("mesh_breaker_state", {**edge, "state": "closed"}) == 0
    assert value("mesh_breaker_trials_total", {**edge, "outcome": "failed"}) == 3
    assert value("mesh_breaker_trials_total", {**edge, "outcome": "passed"}) == 0
    assert value("mesh_rollout_weight", {"rollout": "v2"}) == 25
    assert value("mesh_rollout_phase", {"rollout": "v2", "phase": "Paused"}) == 1
    assert value("mesh_rollout_phase", {"rollout": "v2", "phase": "Aborted"}) == 0
    assert value("mesh_certificate_expiry_timestamp_seconds", {"certificate": "root"}) == 2e9


def test_register_reads_nothing() -> None:
    def read() -> MeshMetrics:
        raise AssertionError("read at registration")

    CollectorRegistry().register(MeshCollector(read, dict))
