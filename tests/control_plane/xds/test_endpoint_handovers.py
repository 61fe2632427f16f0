"""Endpoints that replace all others of a cluster with health checks come beside these first."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.endpoint_handover import with_predecessors
from meshwright.control_plane.core.resource import CDS, EDS, LDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.endpoint_handovers import IDLE_MOMENTS
from tests.control_plane.xds.resources import checked_cluster, cluster, host, instances, listener
from tests.control_plane.xds.wire import Wire
from tests.fakes.envoy import EnvoyModel
from tests.fakes.snapshot import node_snapshot


def usable(resource: Resource) -> set[int]:
    """The ports of the endpoints that are not draining."""
    body = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0].resource.value
    groups = v3.ClusterLoadAssignment.FromString(body).endpoints
    return {
        item.endpoint.address.socket_address.port_value
        for group in groups
        for item in group.lb_endpoints
        if item.health_status == v3.HealthStatus.HEALTHY
    }


@pytest.mark.parametrize(
    ("old", "new", "predecessors"),
    [
        (instances("a", 1, 2), instances("a", 3), {1, 2}),
        (instances("a", 1, zone="x"), instances("a", 3, zone="y"), {1}),
        (instances("a", 1), instances("a", 3, draining=(1,)), {1}),
        (instances("a", 1, 2), instances("a", 2, draining=(1,)), set()),
        (instances("a", 1, 2), instances("a", 2, 3), set()),
        (instances("a", 1), instances("a"), set()),
        (instances("a"), instances("a", 3), set()),
        (instances("a", draining=(1,)), instances("a", 3), set()),
    ],
)
def test_old_endpoints_stay_where_no_new_one_was_usable(
    old: Resource, new: Resource, predecessors: set[int]
) -> None:
    result = with_predecessors(old, new)
    assert usable(result) == usable(new) | predecessors
    assert (result is new) == (not predecessors)


def start(first: Resource) -> Wire:
    """A client of cluster `a`, which has one instance."""
    wire = Wire(node_snapshot(first, instances("a", 1), host("a"), listener("outbound")), EnvoyModel())
    wire.open(CDS, LDS)
    wire.open(VHDS)
    wire.subscribe(VHDS, "out/a")
    return wire


def publish(wire: Wire, *changed: Resource) -> None:
    table = {**wire.snapshot.resources, **node_snapshot(*changed).resources}
    wire.publish(node_snapshot(*table.values(), revision=wire.snapshot.revision + 1))


def has(wire: Wire) -> str:
    return wire.version(EDS, "a")


def test_old_endpoints_of_a_checked_cluster_leave_after_some_idle_moments() -> None:
    wire = start(checked_cluster("a"))
    old, new = instances("a", 1), instances("a", 2)
    publish(wire, new)
    assert has(wire) == with_predecessors(old, new).version
    assert not wire.delta.is_acked(EDS, "a")
    wire.subscribe(EDS, "a")
    assert has(wire) == with_predecessors(old, new).version, "a cluster that warms asks again"
    for _ in range(IDLE_MOMENTS - 1):
        assert wire.idle() == []
        assert wire.delta.has_idle_work
    wire.idle()
    assert has(wire) == new.version
    assert wire.delta.is_acked(EDS, "a")
    assert not wire.delta.has_idle_work


def test_the_next_change_comes_beside_the_first_endpoints() -> None:
    wire = start(checked_cluster("a"))
    old, last = instances("a", 1), instances("a", 3)
    publish(wire, instances("a", 2))
    publish(wire, last)
    assert has(wire) == with_predecessors(old, last).version
    publish(wire, old)
    assert has(wire) == old.version
    for _ in range(IDLE_MOMENTS):
        wire.idle()
    assert has(wire) == old.version
    assert not wire.delta.has_idle_work


def test_endpoints_of_a_cluster_without_checks_are_replaced_at_once() -> None:
    wire = start(cluster("a"))
    publish(wire, instances("a", 2))
    assert has(wire) == instances("a", 2).version
    publish(wire, checked_cluster("a"))
    publish(wire, instances("a", 3))
    publish(wire, cluster("a"))
    assert has(wire) == instances("a", 3).version, "checks that end need no old endpoints"
