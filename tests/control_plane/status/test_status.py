"""The status of the mesh as the admin API returns it."""

from __future__ import annotations

from dataclasses import replace

from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.core.world import Departure, Service
from meshwright.control_plane.status import status
from tests.control_plane.core.worlds import HTTP, exchange, mesh

TIMEOUT = mesh("Timeout", "t", "from: [orders], request: 3s", "{kind: Service, name: catalog}")


def test_mesh_status_counts_healthy_instances() -> None:
    current = status.mesh_status(exchange(TIMEOUT), "ok", (), {}, ("broken",))
    assert [(service.name, service.instances, service.healthy) for service in current.services] == [
        ("catalog", 1, 1),
        ("inventory", 2, 2),
        ("orders", 1, 1),
    ]
    assert [policy.name for policy in current.policies] == ["t"]
    assert current.problems == ("broken",)


def test_proxy_details_join_statuses_and_reports() -> None:
    statuses = (
        ProxyStatus(name="b-1", service="b", state="rejected", revision=2, error="bad regex"),
        ProxyStatus(name="a-1", service="a", state="disconnected", revision=1),
    )
    reports = (
        ProxyReport(node="b-1", service="b", version="1.40.0", memory=7, expires=9.0, uptime=3.0),
        ProxyReport(node="c-1", service="c"),
    )
    a, b, c = status.proxy_details(statuses, {("b", "b-1"): 4}, reports)
    assert (a.name, a.connected, a.reported, a.pending) == ("a-1", False, False, 0)
    assert (b.name, b.connected, b.reported, b.pending, b.error) == ("b-1", True, True, 4, "bad regex")
    assert (b.version, b.memory, b.expires, b.uptime) == ("1.40.0", 7, 9.0, 3.0)
    assert (c.name, c.state, c.connected, c.reported) == ("c-1", "disconnected", False, True)


def test_proxies_of_instances_that_left_as_planned_are_not_listed() -> None:
    world = exchange()
    lost = Service("lost", (HTTP,), departure=Departure(1.0, "lost-1", "its lease expired"))
    idle = Service("idle", (HTTP,), departure=Departure(1.0))
    world = replace(world, services={**world.services, "lost": lost, "idle": idle})

    def proxy(name: str, service: str, error: str = "") -> ProxyStatus:
        return ProxyStatus(name=name, service=service, state="disconnected", revision=1, error=error)

    stay = (
        proxy("inventory-1", "inventory"),  # has a lease
        proxy("inventory-2", "inventory").model_copy(update={"state": "synced"}),
        proxy("inventory-4", "inventory", error="evicted by ada"),
        proxy("inventory-5", "inventory"),  # its agent reports: its Envoy cannot connect
        proxy("lost-1", "lost"),
        proxy("ingress-1", "ingress"),
    )
    gone = (proxy("inventory-3", "inventory"), proxy("idle-1", "idle"))
    reports = (ProxyReport(node="inventory-5", service="inventory"),)
    assert status.without_departed((*stay, *gone), world, reports) == stay


def test_instance_statuses_include_labels() -> None:
    instances = {instance.name: instance for instance in status.instance_statuses(exchange())}
    assert instances["inventory-2"].labels == {"version": "v2"}
    assert instances["inventory-2"].address == "127.0.0.1:2"
