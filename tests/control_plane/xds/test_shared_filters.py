"""Shared filters (ECDS): old and new routes find their entries at every moment of a change."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.resource import CDS, ECDS, EDS, LDS, RDS
from meshwright.control_plane.envoy import v3
from tests.control_plane.xds.resources import (
    SHARED_FILTER,
    cluster,
    endpoints,
    listener,
    routes,
    shared_filter,
)
from tests.control_plane.xds.wire import Wire
from tests.fakes.envoy import EnvoyModel
from tests.fakes.snapshot import HandMadeNode, node_snapshot


class RejectedEntries:
    """NACKs a filter that has one of `names`."""

    names: frozenset[str] = frozenset()

    def __call__(self, type_url: str, name: str, body: bytes) -> str:
        return "no good" if type_url == ECDS and entries(body) & self.names else ""


@pytest.fixture
def rejected() -> RejectedEntries:
    return RejectedEntries()


def snapshot(revision: int, *names: str, route: str, clusters: tuple[str, ...] = ()) -> HandMadeNode:
    """A filter with these entries, and a route that names one."""
    every = [resource for name in ("keys", "more") for resource in (cluster(name), endpoints(name))]
    auth = shared_filter(*names, clusters=clusters)
    return node_snapshot(*every, listener("ingress"), auth, routes("in", stat=route), revision=revision)


@pytest.fixture
def wire(rejected: RejectedEntries) -> Wire:
    wire = Wire(snapshot(1, "a", route="a"), EnvoyModel(reject=rejected))
    wire.open(CDS, LDS)
    wire.subscribe(ECDS, SHARED_FILTER)
    wire.subscribe(RDS, "in")
    return wire


def entries(body: bytes) -> frozenset[str]:
    config = v3.JwtAuthentication()
    v3.TypedExtensionConfig.FromString(body).typed_config.Unpack(config)
    return frozenset(config.requirement_map)


def held(wire: Wire) -> frozenset[str]:
    return entries(wire.model.resources[ECDS][SHARED_FILTER][1])


def route_of(wire: Wire) -> str:
    message = v3.RouteConfiguration.FromString(wire.model.resources[RDS]["in"][1])
    return message.virtual_hosts[0].name


def test_a_route_finds_its_entry_at_every_moment_of_a_change(wire: Wire) -> None:
    for revision, (name, names) in enumerate((("b", "b"), ("c", "bc"), ("a", "a")), start=2):
        wire.apply(snapshot(revision, *names, route=name))
        while wire.requests or wire.responses:
            wire.step()
            assert route_of(wire) in held(wire)
        assert held(wire) == set(names)
        assert route_of(wire) == name
        assert wire.delta.acked_revision == revision
        assert wire.delta.is_synced


def test_the_old_entries_stay_until_routes_that_wait_for_clusters_are_sent(wire: Wire) -> None:
    wire.subscribe(EDS, "keys")
    wire.apply(snapshot(2, "b", route="b", clusters=("keys",)))
    seen = set()
    while wire.requests or wire.responses:
        wire.step()
        assert route_of(wire) in held(wire)
        seen.add(held(wire))
    assert frozenset("ab") in seen
    assert (held(wire), route_of(wire)) == (frozenset("b"), "b")


def test_a_rejected_filter_leaves_the_one_before_in_force(wire: Wire, rejected: RejectedEntries) -> None:
    rejected.names = frozenset("x")
    wire.publish(snapshot(2, "a", "x", route="a"))
    assert held(wire) == set("a")
    assert [name for _, name in wire.delta.rejected] == [SHARED_FILTER]
    wire.publish(snapshot(3, "a", "b", route="b"))
    assert (held(wire), route_of(wire)) == (frozenset("ab"), "b")
    assert wire.delta.acked_revision == 3


def test_a_client_that_reconnects_with_the_current_filter_gets_nothing(wire: Wire) -> None:
    wire.connect()
    assert not [response for response in wire.run() if response.type_url == ECDS and response.items]
    wire.publish(snapshot(2, "b", route="b"))
    assert (held(wire), route_of(wire)) == (frozenset("b"), "b")
