"""The responses to a change, their order, and the effect of a NACK."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.subscription import Rejection
from tests.control_plane.xds.resources import cluster, endpoints, host, listener, routes
from tests.control_plane.xds.wire import Summary, Wire, summarize
from tests.fakes.envoy import EnvoyModel
from tests.fakes.snapshot import node_snapshot

START = (
    cluster("a"),
    endpoints("a"),
    cluster("b"),
    endpoints("b"),
    host("a"),
    listener("outbound"),
    routes("out"),
)


class RejectedNames:
    """NACKs the resources whose names are in `names`."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __call__(self, type_url: str, name: str, body: bytes) -> str:
        return "no good" if name in self.names else ""


@pytest.fixture
def rejected() -> RejectedNames:
    return RejectedNames()


@pytest.fixture
def wire(rejected: RejectedNames) -> Wire:
    """A client that uses host `a`."""
    wire = Wire(node_snapshot(*START), EnvoyModel(reject=rejected))
    wire.open(CDS, LDS)
    wire.subscribe(RDS, "out")
    wire.open(VHDS)
    wire.subscribe(VHDS, "out/a")
    return wire


def publish(wire: Wire, *resources: Resource, without: tuple[tuple[str, str], ...] = ()) -> list[Summary]:
    """Publish with resources added or replaced, and some removed."""
    table = {**wire.snapshot.resources, **node_snapshot(*resources).resources}
    remaining = [resource for key, resource in table.items() if key not in without]
    return summarize(wire.publish(node_snapshot(*remaining, revision=wire.snapshot.revision + 1)))


def test_changed_endpoints_are_one_response(wire: Wire) -> None:
    assert publish(wire, endpoints("a", 2)) == [("ClusterLoadAssignment", ["a"], [])]
    assert wire.delta.acked_revision == 2


def test_endpoints_are_sent_again_after_their_cluster(wire: Wire) -> None:
    assert publish(wire, cluster("a", 2)) == [("Cluster", ["a"], []), ("ClusterLoadAssignment", ["a"], [])]
    assert wire.model.warming == set()


def test_types_are_sent_in_make_before_break_order(wire: Wire) -> None:
    sent = publish(
        wire,
        host("a", stat="x"),
        routes("out", stat="x"),
        listener("outbound", stat="x"),
        endpoints("a", 2),
        cluster("a", 2),
    )
    types = ["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "VirtualHost"]
    assert [type_name for type_name, _, _ in sent] == types


def test_route_waits_until_its_cluster_has_endpoints(wire: Wire) -> None:
    before = wire.version(VHDS, "out/a")
    wire.apply(node_snapshot(*START[:4], host("a", clusters=("a", "b")), *START[5:], revision=2))
    assert summarize(wire.responses) == [("Cluster", ["b"], [])]
    while "b" not in wire.model.resources[EDS]:
        assert wire.version(VHDS, "out/a") == before
        assert not wire.delta.is_synced
        wire.step()
    wire.run()
    assert wire.version(VHDS, "out/a") == wire.snapshot.resources[VHDS, "out/a"].version
    assert wire.delta.is_synced


def test_cluster_is_removed_last_and_only_when_idle(wire: Wire) -> None:
    assert publish(wire, host("a", clusters=("b",))) == [
        ("Cluster", ["b"], []),
        ("ClusterLoadAssignment", ["b"], []),
        ("VirtualHost", ["out/a"], []),
    ]
    assert wire.delta.has_idle_work
    assert "a" in wire.model.resources[CDS]
    assert summarize(wire.idle()) == [("Cluster", [], ["a"])]
    assert "a" not in wire.model.subscribed[EDS]
    assert not wire.delta.has_idle_work


def test_cluster_is_kept_with_its_endpoints_while_a_response_is_in_flight(wire: Wire) -> None:
    """Until the client has the new routes, requests go where the old ones say."""
    wire.apply(node_snapshot(*START[2:4], *START[5:], revision=2), compare_all=True)
    assert summarize(wire.responses) == [("VirtualHost", [], ["out/a"])]
    assert wire.delta.on_idle() == []
    wire.run()
    assert summarize(wire.idle()) == [("Cluster", [], ["a"])]


def test_cluster_that_returns_before_it_was_removed_gets_its_endpoints(wire: Wire) -> None:
    wire.apply(node_snapshot(*START[2:4], *START[5:], revision=2), compare_all=True)
    wire.apply(node_snapshot(*START, revision=3), compare_all=True)
    wire.run()
    for key in ((EDS, "a"), (VHDS, "out/a")):
        assert wire.version(*key) == wire.snapshot.resources[key].version
    assert wire.idle() == []
    assert wire.delta.is_synced


def test_cluster_that_returns_is_ready_only_with_new_endpoints(wire: Wire) -> None:
    publish(wire, host("a", clusters=("b",)))
    wire.send(wire.delta.on_idle())
    wire.apply(node_snapshot(*START, revision=9), compare_all=True)
    assert ("VirtualHost", ["out/a"], []) not in summarize(wire.responses)
    wire.run()
    assert wire.version(VHDS, "out/a") == wire.snapshot.resources[VHDS, "out/a"].version


def test_removed_endpoints_become_an_empty_assignment(wire: Wire) -> None:
    assert publish(wire, without=((EDS, "a"),)) == [("ClusterLoadAssignment", ["a"], [])]
    assert not v3.ClusterLoadAssignment.FromString(wire.model.resources[EDS]["a"][1]).endpoints


def test_removed_hosts_and_listeners_are_reported(wire: Wire) -> None:
    assert publish(wire, without=((VHDS, "out/a"), (LDS, "outbound"))) == [
        ("Listener", [], ["outbound"]),
        ("VirtualHost", [], ["out/a"]),
    ]


def test_route_whose_cluster_never_becomes_ready_is_sent_when_idle(wire: Wire) -> None:
    wire.model.follow_endpoints = False
    assert publish(wire, host("a", clusters=("b",))) == [("Cluster", ["b"], [])]
    assert wire.delta.is_waiting_for_clusters
    assert summarize(wire.idle()) == [("VirtualHost", ["out/a"], [])]
    assert not wire.delta.is_waiting_for_clusters


def test_nacked_resource_is_quarantined_until_its_version_changes(
    wire: Wire, rejected: RejectedNames
) -> None:
    before = wire.model.resources[VHDS]["out/a"]
    rejected.names = {"out/a"}
    assert len(publish(wire, host("a", stat="x"))) == 1
    version = wire.snapshot.resources[VHDS, "out/a"].version
    assert wire.delta.rejected == {(VHDS, "out/a"): Rejection(version, "out/a: no good")}
    assert wire.delta.acked_revision == 1
    assert publish(wire, endpoints("a", 3)) == [("ClusterLoadAssignment", ["a"], [])]
    assert summarize(wire.publish(wire.snapshot, compare_all=True)) == []
    assert summarize(wire.subscribe(VHDS, "out/a")) == []
    assert wire.model.resources[VHDS]["out/a"] == before
    rejected.names = set()
    assert publish(wire, host("a", stat="y")) == [("VirtualHost", ["out/a"], [])]
    assert wire.delta.rejected == {}
    assert wire.delta.acked_revision == wire.snapshot.revision


def test_nack_counts_for_the_revision_that_introduced_the_version(
    wire: Wire, rejected: RejectedNames
) -> None:
    rejected.names = {"out/a"}
    publish(wire, host("a", stat="x"))
    rejected.names = set()
    publish(wire, endpoints("a", 3))
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (2, 3)
    assert wire.delta.acked_revision == 1
    wire.delta.advance(7)
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (2, 7)
    publish(wire, host("a", stat="y"))
    assert (wire.delta.rejected_revision, wire.delta.acked_revision) == (0, wire.snapshot.revision)


def test_second_nack_counts_for_the_newer_revision(wire: Wire, rejected: RejectedNames) -> None:
    rejected.names = {"out/a"}
    publish(wire, host("a", stat="x"))
    publish(wire, host("a", stat="y"))
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (3, 3)


def test_late_nack_counts_for_the_revision_that_was_sent(wire: Wire, rejected: RejectedNames) -> None:
    rejected.names = {"out/a"}
    for revision, resource in ((2, host("a", stat="x")), (3, endpoints("a", 3))):
        table = {**wire.snapshot.resources, (resource.type_url, resource.name): resource}
        wire.apply(node_snapshot(*table.values(), revision=revision))
        assert wire.delta.replied_revision == 1
    wire.run()
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (2, 3)


def test_return_to_the_good_version_clears_a_nack(wire: Wire, rejected: RejectedNames) -> None:
    rejected.names = {"out/a"}
    publish(wire, host("a", stat="x"))
    rejected.names = set()
    assert publish(wire, host("a")) == [("VirtualHost", ["out/a"], [])]
    assert wire.delta.is_synced


def test_nacked_response_is_sent_again_resource_by_resource(wire: Wire, rejected: RejectedNames) -> None:
    for name in ("p", "q", "r"):
        publish(wire, host(name, clusters=()))
        wire.subscribe(VHDS, f"out/{name}")
    rejected.names = {"out/q"}
    sent = publish(wire, *(host(name, clusters=(), stat="x") for name in ("p", "q", "r")))
    assert sent == [
        ("VirtualHost", names, []) for names in (["out/p", "out/q", "out/r"], ["out/p"], ["out/q"], ["out/r"])
    ]
    assert wire.delta.rejected.keys() == {(VHDS, "out/q")}
    for name in ("p", "r"):
        assert wire.version(VHDS, f"out/{name}") == wire.snapshot.resources[VHDS, f"out/{name}"].version


def test_removals_of_a_nacked_response_are_sent_again(wire: Wire, rejected: RejectedNames) -> None:
    publish(wire, listener("other"))
    rejected.names = {"new", "newer"}
    sent = publish(wire, listener("new"), listener("newer"), without=((LDS, "other"),))
    assert sent[0] == ("Listener", ["new", "newer"], ["other"])
    assert ("Listener", [], ["other"]) in sent[1:]
    assert "other" not in wire.model.resources[LDS]


def test_late_nack_of_an_older_version_quarantines_nothing(wire: Wire, rejected: RejectedNames) -> None:
    rejected.names = {"out/a"}
    for stat in ("x", "y"):
        wire.apply(
            node_snapshot(*START[:4], host("a", stat=stat), *START[5:], revision=wire.snapshot.revision + 1)
        )
    wire.step()
    rejected.names = set()
    wire.run()
    assert wire.delta.rejected == {}
    assert wire.delta.is_acked(VHDS, "out/a", wire.snapshot.resources[VHDS, "out/a"].version)


def test_old_routes_stay_while_the_new_cluster_is_nacked(wire: Wire, rejected: RejectedNames) -> None:
    before = wire.model.resources[VHDS]["out/a"]
    rejected.names = {"b"}
    publish(wire, host("a", clusters=("b",)))
    assert wire.idle() == []
    assert wire.model.resources[VHDS]["out/a"] == before
    assert "a" in wire.model.resources[CDS]
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (2, 2)
    publish(wire, host("a", clusters=("b",), stat="x"))
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (3, 3)


def test_nacked_cluster_that_is_required_again_is_sent_and_nacked_again(
    wire: Wire, rejected: RejectedNames
) -> None:
    rejected.names = {"c"}
    publish(wire, cluster("c"), endpoints("c"), host("a", clusters=("c",)))
    publish(wire, host("a"))
    assert (wire.delta.rejected, wire.delta.is_synced) == ({}, True)
    assert ("Cluster", ["c"], []) in publish(wire, host("a", clusters=("c",)))
    assert wire.delta.rejected.keys() == {(CDS, "c")}
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (4, 4)


def test_reply_to_an_unknown_nonce_is_ignored(wire: Wire) -> None:
    wire.requests.append(v3.DeltaDiscoveryRequest(type_url=VHDS, response_nonce="never sent"))
    assert wire.run() == []


def test_error_message_is_truncated(wire: Wire, rejected: RejectedNames) -> None:
    wire.model.reject = lambda type_url, name, body: "x" * 5000 if name == "out/a" else ""
    publish(wire, host("a", stat="x"))
    assert len(wire.delta.rejected[VHDS, "out/a"].message) == 1000


def test_is_acked_reports_the_version_the_client_acked(wire: Wire) -> None:
    version = wire.snapshot.resources[EDS, "a"].version
    assert wire.delta.is_acked(EDS, "a", version)
    assert wire.delta.is_acked(EDS, "a")
    wire.apply(node_snapshot(*START[:1], endpoints("a", 5), *START[2:], revision=2))
    assert not wire.delta.is_acked(EDS, "a")
    wire.run()
    assert wire.delta.is_acked(EDS, "a")
    assert not wire.delta.is_interested(EDS, "nowhere")
