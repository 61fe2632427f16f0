"""Subscriptions: wildcards, names, aliases, unknown names, and reconnecting."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.response import Response
from tests.control_plane.xds.resources import cluster, endpoints, host, listener, routes
from tests.control_plane.xds.wire import Wire, summarize
from tests.fakes.envoy import EnvoyModel
from tests.fakes.snapshot import node_snapshot

FULL = node_snapshot(
    cluster("orders"),
    endpoints("orders"),
    cluster("pinned"),
    endpoints("pinned"),
    host("orders"),
    listener("inbound"),
    routes("out"),
    pinned=[(CDS, "pinned")],
)


def decode(response: Response) -> v3.DeltaDiscoveryResponse:
    """What an Envoy would read."""
    return v3.DeltaDiscoveryResponse.FromString(response.data)


@pytest.fixture
def wire() -> Wire:
    """A client that has its listeners, pinned clusters and routes, and has opened VHDS."""
    wire = Wire(FULL)
    wire.open(CDS, LDS)
    wire.subscribe(RDS, "out")
    wire.open(VHDS)
    return wire


def test_first_subscription_without_names_gets_only_the_base() -> None:
    wire = Wire(FULL)
    assert summarize(wire.open(CDS)) == [
        ("Cluster", ["pinned"], []),
        ("ClusterLoadAssignment", ["pinned"], []),
    ]
    assert summarize(wire.open(LDS)) == [("Listener", ["inbound"], [])]
    assert wire.delta.is_synced


def test_first_subscription_gets_a_response_even_if_it_is_empty() -> None:
    wire = Wire(node_snapshot())
    (response,) = wire.open(LDS)
    assert decode(response).type_url == LDS
    assert summarize([response]) == [("Listener", [], [])]


def test_first_subscription_with_names_is_not_a_wildcard() -> None:
    wire = Wire(FULL)
    assert summarize(wire.subscribe(CDS, "orders"))[0] == ("Cluster", ["orders"], [])
    assert "pinned" not in wire.model.resources[CDS]


def test_first_empty_vhds_response_names_a_nonexistent_host(wire: Wire) -> None:
    (response,) = [response for response in wire.log if response.type_url == VHDS]
    (resource,) = decode(response).resources
    assert (resource.name, list(resource.aliases), resource.HasField("resource")) == (
        "out/-",
        ["out/-"],
        False,
    )


def test_star_is_not_a_wildcard_for_virtual_hosts(wire: Wire) -> None:
    assert wire.subscribe(VHDS, "*") == []
    assert wire.model.resources[VHDS] == {}


def test_star_starts_a_wildcard_and_its_removal_ends_it(wire: Wire) -> None:
    named = Wire(FULL)
    named.subscribe(LDS, "inbound")
    named.open(CDS)
    assert summarize(named.subscribe(CDS, "*")) == []
    request = v3.DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=["*"])
    named.requests.append(request)
    named.run()
    assert summarize(named.idle())[0] == ("Cluster", [], ["pinned"])


def test_cluster_and_endpoints_are_sent_before_their_host(wire: Wire) -> None:
    assert summarize(wire.subscribe(VHDS, "out/orders")) == [
        ("Cluster", ["orders"], []),
        ("ClusterLoadAssignment", ["orders"], []),
        ("VirtualHost", ["out/orders"], []),
    ]


def test_alias_gets_the_host_under_its_name_with_all_aliases(wire: Wire) -> None:
    response = wire.subscribe(VHDS, "out/orders.mesh")[-1]
    (resource,) = decode(response).resources
    assert resource.name == "out/orders"
    assert "out/orders.mesh" in resource.aliases


def test_repeated_subscription_gets_a_response_each_time(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    assert summarize(wire.subscribe(VHDS, "out/orders")) == [("VirtualHost", ["out/orders"], [])]
    assert summarize(wire.subscribe(CDS, "orders"))[0] == ("Cluster", ["orders"], [])


def test_unknown_host_is_a_resource_without_body_each_time(wire: Wire) -> None:
    for _ in range(2):
        (response,) = wire.subscribe(VHDS, "out/nowhere")
        (resource,) = decode(response).resources
        assert (resource.name, list(resource.aliases), resource.HasField("resource")) == (
            "out/nowhere",
            ["out/nowhere"],
            False,
        )
        assert not decode(response).removed_resources


def test_unknown_cluster_or_route_is_reported_as_removed(wire: Wire) -> None:
    assert summarize(wire.subscribe(CDS, "nowhere")) == [("Cluster", [], ["nowhere"])]
    assert summarize(wire.subscribe(RDS, "nowhere")) == [("RouteConfiguration", [], ["nowhere"])]


def test_unknown_endpoints_are_an_empty_assignment() -> None:
    wire = Wire(FULL)
    (response,) = wire.subscribe(EDS, "nowhere")
    (resource,) = decode(response).resources
    assert v3.ClusterLoadAssignment.FromString(resource.resource.value).cluster_name == "nowhere"


def test_host_created_later_is_sent_to_its_subscribers(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/users.mesh")
    later = node_snapshot(*FULL.resources.values(), host("users", clusters=()), revision=2)
    assert ("VirtualHost", ["out/users"], []) in summarize(wire.publish(later))


def test_resource_without_subscription_is_not_sent(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    snapshot = node_snapshot(
        *FULL.resources.values(),
        cluster("users"),
        endpoints("users"),
        host("users"),
        revision=2,
        pinned=[(CDS, "pinned")],
    )
    assert wire.publish(snapshot) == []
    assert wire.delta.acked_revision == 2


def test_reconnect_with_the_same_versions_sends_nothing(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    wire.subscribe(VHDS, "out/nowhere")
    wire.connect()
    repeated = wire.run()
    assert [
        response for response in repeated if any(version for _, version in response.items) or response.removed
    ] == []
    assert wire.delta.is_synced
    assert wire.delta.acked_revision == 1
    assert wire.idle() == []


def test_reconnect_gets_changes_and_removals(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    wire.snapshot = node_snapshot(
        listener("new"), routes("out", stat="x"), cluster("pinned"), endpoints("pinned"), revision=2
    )
    wire.connect()
    assert summarize(wire.run()) == [
        ("Listener", ["new"], ["inbound"]),
        ("RouteConfiguration", ["out"], []),
        ("VirtualHost", [], ["out/orders"]),
    ]
    assert summarize(wire.idle()) == [("Cluster", [], ["orders", "pinned"])]


def test_clusters_of_hosts_are_kept_during_a_reconnect(wire: Wire) -> None:
    """CDS is requested first, before the server knows which hosts require its clusters."""
    wire.subscribe(VHDS, "out/orders")
    wire.connect()
    requests, wire.requests = wire.requests, wire.requests[:1]
    assert wire.run() == []
    wire.requests = requests[1:]
    wire.run()
    assert wire.idle() == []
    assert "orders" in wire.model.resources[CDS]


def test_cluster_updated_while_disconnected_gets_its_endpoints_again(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    table = {**FULL.resources, (CDS, "orders"): cluster("orders", 7)}
    wire.snapshot = node_snapshot(*table.values(), revision=2, pinned=[(CDS, "pinned")])
    wire.connect()
    assert summarize(wire.run()) == [
        ("Cluster", ["orders"], []),
        ("ClusterLoadAssignment", ["orders"], []),
    ]
    assert wire.model.warming == set()


def test_unknown_names_are_limited_and_still_get_responses() -> None:
    wire = Wire(FULL, limit=3)
    wire.open(CDS)
    for number in range(5):
        assert summarize(wire.subscribe(CDS, f"c{number}")) == [("Cluster", [], [f"c{number}"])]
    assert wire.delta.rejected_names == 2
    assert summarize(wire.subscribe(CDS, "orders"))[0] == ("Cluster", ["orders"], [])
    later = node_snapshot(*FULL.resources.values(), cluster("c2"), cluster("c3"), revision=2)
    sent = summarize(wire.publish(later))
    assert [names for kind, names, _ in sent if kind == "Cluster"] == [["c2"]]


@pytest.mark.parametrize("asked_before", [0, 2, 3, 4, 50])
@pytest.mark.parametrize("alias", ["out/late", "out/late.mesh"])
@pytest.mark.parametrize("reconnects", [False, True])
def test_host_asked_for_too_early_is_sent_when_it_appears_whatever_was_asked_for(
    asked_before: int, alias: str, reconnects: bool
) -> None:
    wire = Wire(FULL, exact_hosts=3)
    wire.open(CDS, LDS)
    wire.open(VHDS)
    for number in range(asked_before):
        wire.subscribe(VHDS, f"out/h{number}")
    assert summarize(wire.subscribe(VHDS, alias)) == [("VirtualHost", [alias], [])]
    for number in range(asked_before):
        wire.subscribe(VHDS, f"out/i{number}")
    if reconnects:
        wire.connect()
        wire.run()
    later = node_snapshot(*FULL.resources.values(), host("late", ()), host("other", ()), revision=2)
    assert summarize(wire.publish(later)) == [("VirtualHost", ["out/late"], [])]
    assert wire.delta.rejected_names == 0


def test_host_that_appears_while_the_client_is_away_is_sent_on_its_return() -> None:
    wire = Wire(FULL, exact_hosts=3)
    wire.open(CDS, LDS)
    wire.open(VHDS)
    wire.subscribe(VHDS, *(f"out/h{number}" for number in range(9)), "out/late")
    wire.snapshot = node_snapshot(*FULL.resources.values(), host("late", ()), revision=2)
    wire.connect()
    assert ("VirtualHost", ["out/late"], []) in summarize(wire.run())


def test_reconnect_after_many_unknown_hosts_gets_no_response_for_them() -> None:
    wire = Wire(FULL, exact_hosts=3)
    wire.open(CDS, LDS)
    wire.open(VHDS)
    wire.subscribe(VHDS, *(f"out/h{number}" for number in range(500)))
    wire.connect()
    assert [response for response in wire.run() if response.type_url == VHDS] == []


def test_name_above_the_length_limit_is_rejected() -> None:
    wire = Wire(FULL)
    wire.open(VHDS)
    wire.subscribe(VHDS, "out/" + "x" * 600)
    assert wire.delta.rejected_names == 1


def test_unsubscribed_name_is_dropped_or_sent_again_under_a_wildcard(wire: Wire) -> None:
    wire.subscribe(CDS, "orders")
    wire.requests.append(
        v3.DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=["orders", "pinned"])
    )
    assert summarize(wire.run())[0] == ("Cluster", ["pinned"], [])
    assert summarize(wire.idle()) == [("Cluster", [], ["orders"])]


def test_unserved_type_is_ignored(wire: Wire) -> None:
    wire.requests.append(
        v3.DeltaDiscoveryRequest(type_url="type.googleapis.com/x.Y", resource_names_subscribe=["a"])
    )
    assert wire.run() == []


def test_responses_of_equal_content_are_shared() -> None:
    wire = Wire(FULL)
    first = wire.open(LDS)
    other = Wire(FULL, EnvoyModel(node="orders-2"))
    other.delta._responses = wire.delta._responses
    assert other.open(LDS)[0] is first[0]
