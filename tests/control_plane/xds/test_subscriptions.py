"""Who gets what: wildcards, names, aliases, names nobody knows, and coming back."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.response import Response
from tests.control_plane.xds.world import Wire, cluster, endpoints, host, listener, mesh, routes, summarize
from tests.fakes.envoy import EnvoyModel

EVERYTHING = mesh(
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
    made = Wire(EVERYTHING)
    made.open(CDS, LDS)
    made.subscribe(RDS, "out")
    made.open(VHDS)
    return made


def test_a_first_subscription_without_names_gets_the_base_and_no_more() -> None:
    wire = Wire(EVERYTHING)
    assert summarize(wire.open(CDS)) == [
        ("Cluster", ["pinned"], []),
        ("ClusterLoadAssignment", ["pinned"], []),
    ]
    assert summarize(wire.open(LDS)) == [("Listener", ["inbound"], [])]
    assert wire.delta.is_synced


def test_a_first_subscription_is_answered_even_if_there_is_nothing() -> None:
    wire = Wire(mesh())
    (answer,) = wire.open(LDS)
    assert decode(answer).type_url == LDS
    assert summarize([answer]) == [("Listener", [], [])]


def test_a_first_subscription_with_names_is_no_wildcard() -> None:
    wire = Wire(EVERYTHING)
    assert summarize(wire.subscribe(CDS, "orders"))[0] == ("Cluster", ["orders"], [])
    assert "pinned" not in wire.model.resources[CDS]


def test_the_first_empty_vhds_answer_names_a_host_that_does_not_exist(wire: Wire) -> None:
    (answer,) = [each for each in wire.log if each.type_url == VHDS]
    (one,) = decode(answer).resources
    assert (one.name, list(one.aliases), one.HasField("resource")) == ("out/-", ["out/-"], False)


def test_a_star_is_never_a_wildcard_for_virtual_hosts(wire: Wire) -> None:
    assert wire.subscribe(VHDS, "*") == []
    assert wire.model.resources[VHDS] == {}


def test_a_star_makes_a_wildcard_and_its_removal_unmakes_it(wire: Wire) -> None:
    named = Wire(EVERYTHING)
    named.subscribe(LDS, "inbound")
    named.open(CDS)
    assert summarize(named.subscribe(CDS, "*")) == []
    request = v3.DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=["*"])
    named.requests.append(request)
    named.run()
    assert summarize(named.idle())[0] == ("Cluster", [], ["pinned"])


def test_a_host_comes_with_its_cluster_and_endpoints_first(wire: Wire) -> None:
    assert summarize(wire.subscribe(VHDS, "out/orders")) == [
        ("Cluster", ["orders"], []),
        ("ClusterLoadAssignment", ["orders"], []),
        ("VirtualHost", ["out/orders"], []),
    ]


def test_an_alias_gets_the_host_under_its_name_with_all_aliases(wire: Wire) -> None:
    answer = wire.subscribe(VHDS, "out/orders.mesh")[-1]
    (one,) = decode(answer).resources
    assert one.name == "out/orders"
    assert "out/orders.mesh" in one.aliases


def test_asking_again_is_answered_again(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    assert summarize(wire.subscribe(VHDS, "out/orders")) == [("VirtualHost", ["out/orders"], [])]
    assert summarize(wire.subscribe(CDS, "orders"))[0] == ("Cluster", ["orders"], [])


def test_an_unknown_host_is_a_resource_without_body_each_time(wire: Wire) -> None:
    for _ in range(2):
        (answer,) = wire.subscribe(VHDS, "out/nowhere")
        (one,) = decode(answer).resources
        assert (one.name, list(one.aliases), one.HasField("resource")) == (
            "out/nowhere",
            ["out/nowhere"],
            False,
        )
        assert not decode(answer).removed_resources


def test_an_unknown_cluster_or_route_is_answered_as_removed(wire: Wire) -> None:
    assert summarize(wire.subscribe(CDS, "nowhere")) == [("Cluster", [], ["nowhere"])]
    assert summarize(wire.subscribe(RDS, "nowhere")) == [("RouteConfiguration", [], ["nowhere"])]


def test_unknown_endpoints_are_an_empty_assignment() -> None:
    wire = Wire(EVERYTHING)
    (answer,) = wire.subscribe(EDS, "nowhere")
    (one,) = decode(answer).resources
    assert v3.ClusterLoadAssignment.FromString(one.resource.value).cluster_name == "nowhere"


def test_a_host_that_appears_later_is_sent_to_who_asked(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/users.mesh")
    later = mesh(*EVERYTHING.resources.values(), host("users", needs=()), revision=2)
    assert ("VirtualHost", ["out/users"], []) in summarize(wire.publish(later))


def test_what_is_not_asked_for_is_not_sent(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    other = mesh(
        *EVERYTHING.resources.values(),
        cluster("users"),
        endpoints("users"),
        host("users"),
        revision=2,
        pinned=[(CDS, "pinned")],
    )
    assert wire.publish(other) == []
    assert wire.delta.acked_revision == 2


def test_coming_back_with_the_same_versions_costs_nothing(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    wire.subscribe(VHDS, "out/nowhere")
    wire.connect()
    again = wire.run()
    assert [each for each in again if any(version for _, version in each.items) or each.removed] == []
    assert wire.delta.is_synced
    assert wire.delta.acked_revision == 1
    assert wire.idle() == []


def test_coming_back_gets_what_changed_and_loses_what_went(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    wire.snapshot = mesh(
        listener("new"), routes("out", stat="x"), cluster("pinned"), endpoints("pinned"), revision=2
    )
    wire.connect()
    assert summarize(wire.run()) == [
        ("Listener", ["new"], ["inbound"]),
        ("ClusterLoadAssignment", ["orders"], []),
        ("RouteConfiguration", ["out"], []),
        ("VirtualHost", [], ["out/orders"]),
    ]
    assert summarize(wire.idle()) == [("Cluster", [], ["orders", "pinned"])]


def test_clusters_held_for_hosts_are_kept_while_the_client_is_still_coming_back(wire: Wire) -> None:
    """CDS is asked for first, before it is known which hosts need its clusters."""
    wire.subscribe(VHDS, "out/orders")
    wire.connect()
    requests, wire.requests = wire.requests, wire.requests[:1]
    assert wire.run() == []
    wire.requests = requests[1:]
    wire.run()
    assert wire.idle() == []
    assert "orders" in wire.model.resources[CDS]


def test_a_cluster_updated_while_away_gets_its_endpoints_again(wire: Wire) -> None:
    wire.subscribe(VHDS, "out/orders")
    newer = {**EVERYTHING.resources, (CDS, "orders"): cluster("orders", 7)}
    wire.snapshot = mesh(*newer.values(), revision=2, pinned=[(CDS, "pinned")])
    wire.connect()
    assert summarize(wire.run()) == [
        ("Cluster", ["orders"], []),
        ("ClusterLoadAssignment", ["orders"], []),
    ]
    assert wire.model.warming == set()


def test_unknown_names_are_bounded_and_still_answered() -> None:
    wire = Wire(EVERYTHING, limit=3)
    wire.open(VHDS)
    for each in range(5):
        assert summarize(wire.subscribe(VHDS, f"out/h{each}")) == [("VirtualHost", [f"out/h{each}"], [])]
    assert wire.delta.rejected_names == 2
    assert summarize(wire.subscribe(VHDS, "out/orders"))[-1] == ("VirtualHost", ["out/orders"], [])
    later = mesh(*EVERYTHING.resources.values(), host("h2", ()), host("h3", ()), revision=2)
    assert summarize(wire.publish(later)) == [("VirtualHost", ["out/h2"], [])]


def test_a_name_too_long_is_refused() -> None:
    wire = Wire(EVERYTHING)
    wire.open(VHDS)
    wire.subscribe(VHDS, "out/" + "x" * 600)
    assert wire.delta.rejected_names == 1


def test_unsubscribing_forgets_and_is_told_under_a_wildcard(wire: Wire) -> None:
    wire.subscribe(CDS, "orders")
    wire.requests.append(
        v3.DeltaDiscoveryRequest(type_url=CDS, resource_names_unsubscribe=["orders", "pinned"])
    )
    assert summarize(wire.run())[0] == ("Cluster", ["pinned"], [])
    assert summarize(wire.idle()) == [("Cluster", [], ["orders"])]


def test_types_that_are_not_served_are_passed_over(wire: Wire) -> None:
    wire.requests.append(
        v3.DeltaDiscoveryRequest(type_url="type.googleapis.com/x.Y", resource_names_subscribe=["a"])
    )
    assert wire.run() == []


def test_responses_of_equal_content_are_one_object() -> None:
    wire = Wire(EVERYTHING)
    first = wire.open(LDS)
    other = Wire(EVERYTHING, EnvoyModel(node="orders-2"))
    other.delta._responses = wire.delta._responses
    assert other.open(LDS)[0] is first[0]
