"""What a change sends, in which order, and what a refusal leads to."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.subscription import Rejection
from tests.control_plane.xds.world import Wire, cluster, endpoints, host, listener, mesh, routes, summarize
from tests.fakes.envoy import EnvoyModel

START = (
    cluster("a"),
    endpoints("a"),
    cluster("b"),
    endpoints("b"),
    host("a"),
    listener("outbound"),
    routes("out"),
)


class Names:
    """Refuses the resources whose names are in `bad`."""

    def __init__(self) -> None:
        self.bad: set[str] = set()

    def __call__(self, type_url: str, name: str, body: bytes) -> str:
        return "no good" if name in self.bad else ""


@pytest.fixture
def bad() -> Names:
    return Names()


@pytest.fixture
def wire(bad: Names) -> Wire:
    """A client that uses host `a`."""
    made = Wire(mesh(*START), EnvoyModel(reject=bad))
    made.open(CDS, LDS)
    made.subscribe(RDS, "out")
    made.open(VHDS)
    made.subscribe(VHDS, "out/a")
    return made


def changed(
    wire: Wire, *resources: Resource, without: tuple[tuple[str, str], ...] = ()
) -> list[tuple[str, list[str], list[str]]]:
    """Publish with resources added or replaced, and some taken away."""
    table = {**wire.snapshot.resources, **{(each.type_url, each.name): each for each in resources}}
    kept = [each for key, each in table.items() if key not in without]
    return summarize(wire.publish(mesh(*kept, revision=wire.snapshot.revision + 1)))


def test_endpoints_alone_are_one_response(wire: Wire) -> None:
    assert changed(wire, endpoints("a", 2)) == [("ClusterLoadAssignment", ["a"], [])]
    assert wire.delta.acked_revision == 2


def test_after_a_cluster_its_endpoints_are_sent_again(wire: Wire) -> None:
    assert changed(wire, cluster("a", 2)) == [("Cluster", ["a"], []), ("ClusterLoadAssignment", ["a"], [])]
    assert wire.model.warming == set()


def test_all_types_go_in_the_order_that_breaks_nothing(wire: Wire) -> None:
    sent = changed(
        wire,
        host("a", stat="x"),
        routes("out", stat="x"),
        listener("outbound", stat="x"),
        endpoints("a", 2),
        cluster("a", 2),
    )
    order = ["Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration", "VirtualHost"]
    assert [kind for kind, _, _ in sent] == order


def test_a_route_waits_until_the_cluster_it_needs_has_endpoints(wire: Wire) -> None:
    before, wire.snapshot = (
        wire.snapshot,
        mesh(*START[:4], host("a", needs=("a", "b")), *START[5:], revision=2),
    )
    wire.send(wire.delta.on_snapshot(wire.snapshot, {(VHDS, "out/a")}))
    assert summarize(wire.queue) == [("Cluster", ["b"], [])]
    while "b" not in wire.model.resources[EDS]:
        assert wire.model.resources[VHDS]["out/a"][0] == before.resources[VHDS, "out/a"].version
        assert not wire.delta.is_synced
        wire.step()
    wire.run()
    assert wire.model.resources[VHDS]["out/a"][0] == wire.snapshot.resources[VHDS, "out/a"].version
    assert wire.delta.is_synced


def test_a_cluster_goes_last_and_only_in_a_quiet_moment(wire: Wire) -> None:
    assert changed(wire, host("a", needs=("b",))) == [
        ("Cluster", ["b"], []),
        ("ClusterLoadAssignment", ["b"], []),
        ("VirtualHost", ["out/a"], []),
    ]
    assert wire.delta.has_idle_work
    assert "a" in wire.model.resources[CDS]
    assert summarize(wire.idle()) == [("Cluster", [], ["a"])]
    assert "a" not in wire.model.subscribed[EDS]
    assert not wire.delta.has_idle_work


def test_a_cluster_stays_while_anything_is_in_flight(wire: Wire) -> None:
    wire.snapshot = mesh(*START[2:4], *START[5:], revision=2)
    wire.send(wire.delta.on_snapshot(wire.snapshot, None))
    assert summarize(wire.queue) == [("ClusterLoadAssignment", ["a"], []), ("VirtualHost", [], ["out/a"])]
    assert wire.delta.on_idle() == []
    wire.run()
    assert summarize(wire.idle()) == [("Cluster", [], ["a"])]


def test_a_cluster_that_returns_is_in_place_only_with_new_endpoints(wire: Wire) -> None:
    changed(wire, host("a", needs=("b",)))
    wire.send(wire.delta.on_idle())
    wire.snapshot = mesh(*START, revision=9)
    wire.send(wire.delta.on_snapshot(wire.snapshot, None))
    assert ("VirtualHost", ["out/a"], []) not in summarize(wire.queue)
    wire.run()
    assert wire.model.resources[VHDS]["out/a"][0] == wire.snapshot.resources[VHDS, "out/a"].version


def test_removed_endpoints_become_an_empty_assignment(wire: Wire) -> None:
    assert changed(wire, without=((EDS, "a"),)) == [("ClusterLoadAssignment", ["a"], [])]
    assert not v3.ClusterLoadAssignment.FromString(wire.model.resources[EDS]["a"][1]).endpoints


def test_removed_hosts_and_listeners_are_removed(wire: Wire) -> None:
    assert changed(wire, without=((VHDS, "out/a"), (LDS, "outbound"))) == [
        ("Listener", [], ["outbound"]),
        ("VirtualHost", [], ["out/a"]),
    ]


def test_a_route_waiting_for_news_that_cannot_come_is_let_go(wire: Wire) -> None:
    wire.model.follow_endpoints = False
    assert changed(wire, host("a", needs=("b",))) == [("Cluster", ["b"], [])]
    assert wire.delta.is_waiting_for_clusters
    assert summarize(wire.idle()) == [("VirtualHost", ["out/a"], [])]
    assert not wire.delta.is_waiting_for_clusters


def test_a_refused_resource_is_parked_until_its_version_changes(wire: Wire, bad: Names) -> None:
    old = wire.model.resources[VHDS]["out/a"]
    bad.bad = {"out/a"}
    assert len(changed(wire, host("a", stat="x"))) == 1
    version = wire.snapshot.resources[VHDS, "out/a"].version
    assert wire.delta.rejected == {(VHDS, "out/a"): Rejection(version, "out/a: no good")}
    assert wire.delta.acked_revision == 1
    assert changed(wire, endpoints("a", 3)) == [("ClusterLoadAssignment", ["a"], [])]
    assert summarize(wire.publish(wire.snapshot, everything=True)) == []
    assert summarize(wire.subscribe(VHDS, "out/a")) == []
    assert wire.model.resources[VHDS]["out/a"] == old
    bad.bad = set()
    assert changed(wire, host("a", stat="y")) == [("VirtualHost", ["out/a"], [])]
    assert wire.delta.rejected == {}
    assert wire.delta.acked_revision == wire.snapshot.revision


def test_a_refusal_is_of_the_revision_that_brought_it(wire: Wire, bad: Names) -> None:
    bad.bad = {"out/a"}
    changed(wire, host("a", stat="x"))
    bad.bad = set()
    changed(wire, endpoints("a", 3))
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (2, 3)
    assert wire.delta.acked_revision == 1
    wire.delta.advance(7)
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (2, 7)
    changed(wire, host("a", stat="y"))
    assert (wire.delta.rejected_revision, wire.delta.acked_revision) == (0, wire.snapshot.revision)


def test_what_was_refused_anew_is_of_the_newer_revision(wire: Wire, bad: Names) -> None:
    bad.bad = {"out/a"}
    changed(wire, host("a", stat="x"))
    changed(wire, host("a", stat="y"))
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (3, 3)


def test_a_late_refusal_is_of_the_revision_that_was_sent(wire: Wire, bad: Names) -> None:
    bad.bad = {"out/a"}
    for revision, resource in ((2, host("a", stat="x")), (3, endpoints("a", 3))):
        table = {**wire.snapshot.resources, (resource.type_url, resource.name): resource}
        wire.snapshot = mesh(*table.values(), revision=revision)
        wire.send(wire.delta.on_snapshot(wire.snapshot, {(resource.type_url, resource.name)}))
        assert wire.delta.replied_revision == 1
    wire.run()
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (2, 3)


def test_going_back_to_the_good_version_clears_a_refusal(wire: Wire, bad: Names) -> None:
    bad.bad = {"out/a"}
    changed(wire, host("a", stat="x"))
    bad.bad = set()
    assert changed(wire, host("a")) == [("VirtualHost", ["out/a"], [])]
    assert wire.delta.is_synced


def test_the_rest_of_a_refused_response_is_sent_one_by_one(wire: Wire, bad: Names) -> None:
    for name in ("p", "q", "r"):
        changed(wire, host(name, needs=()))
        wire.subscribe(VHDS, f"out/{name}")
    bad.bad = {"out/q"}
    sent = changed(wire, *(host(name, needs=(), stat="x") for name in ("p", "q", "r")))
    assert sent == [
        ("VirtualHost", names, []) for names in (["out/p", "out/q", "out/r"], ["out/p"], ["out/q"], ["out/r"])
    ]
    assert wire.delta.rejected.keys() == {(VHDS, "out/q")}
    for name in ("p", "r"):
        assert (
            wire.model.resources[VHDS][f"out/{name}"][0]
            == wire.snapshot.resources[VHDS, f"out/{name}"].version
        )


def test_removals_of_a_refused_response_are_sent_again(wire: Wire, bad: Names) -> None:
    changed(wire, listener("other"))
    bad.bad = {"new", "newer"}
    sent = changed(wire, listener("new"), listener("newer"), without=((LDS, "other"),))
    assert sent[0] == ("Listener", ["new", "newer"], ["other"])
    assert ("Listener", [], ["other"]) in sent[1:]
    assert "other" not in wire.model.resources[LDS]


def test_a_late_refusal_of_an_older_version_parks_nothing(wire: Wire, bad: Names) -> None:
    bad.bad = {"out/a"}
    for stat in ("x", "y"):
        wire.snapshot = mesh(
            *START[:4], host("a", stat=stat), *START[5:], revision=wire.snapshot.revision + 1
        )
        wire.send(wire.delta.on_snapshot(wire.snapshot, {(VHDS, "out/a")}))
    wire.step()
    bad.bad = set()
    wire.run()
    assert wire.delta.rejected == {}
    assert wire.delta.is_acked(VHDS, "out/a", wire.snapshot.resources[VHDS, "out/a"].version)


def test_routes_to_a_refused_cluster_keep_the_old_ones(wire: Wire, bad: Names) -> None:
    old = wire.model.resources[VHDS]["out/a"]
    bad.bad = {"b"}
    changed(wire, host("a", needs=("b",)))
    assert wire.idle() == []
    assert wire.model.resources[VHDS]["out/a"] == old
    assert "a" in wire.model.resources[CDS]
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (2, 2)
    changed(wire, host("a", needs=("b",), stat="x"))
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (3, 3)


def test_a_refused_cluster_that_is_wanted_again_is_refused_anew(wire: Wire, bad: Names) -> None:
    bad.bad = {"c"}
    changed(wire, cluster("c"), endpoints("c"), host("a", needs=("c",)))
    changed(wire, host("a"))
    assert (wire.delta.rejected, wire.delta.is_synced) == ({}, True)
    assert ("Cluster", ["c"], []) in changed(wire, host("a", needs=("c",)))
    assert wire.delta.rejected.keys() == {(CDS, "c")}
    assert (wire.delta.rejected_revision, wire.delta.replied_revision) == (4, 4)


def test_an_answer_to_nothing_is_passed_over(wire: Wire) -> None:
    wire.requests.append(v3.DeltaDiscoveryRequest(type_url=VHDS, response_nonce="never sent"))
    assert wire.run() == []


def test_an_error_text_is_cut(wire: Wire, bad: Names) -> None:
    wire.model.reject = lambda kind, name, body: "x" * 5000 if name == "out/a" else ""
    changed(wire, host("a", stat="x"))
    assert len(wire.delta.rejected[VHDS, "out/a"].message) == 1000


def test_acked_versions_can_be_asked_for(wire: Wire) -> None:
    version = wire.snapshot.resources[EDS, "a"].version
    assert wire.delta.is_acked(EDS, "a", version)
    assert wire.delta.is_acked(EDS, "a")
    wire.snapshot = mesh(*START[:1], endpoints("a", 5), *START[2:], revision=2)
    wire.send(wire.delta.on_snapshot(wire.snapshot, {(EDS, "a")}))
    assert not wire.delta.is_acked(EDS, "a")
    wire.run()
    assert wire.delta.is_acked(EDS, "a")
    assert not wire.delta.is_interested(EDS, "nowhere")
