"""A client that NACKs a version and has no other gets the version that its identity ACKed last."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted
from tests.control_plane.xds.resources import cluster, endpoints, host, listener, routes
from tests.control_plane.xds.wire import Wire, summarize
from tests.fakes.envoy import EnvoyModel
from tests.fakes.snapshot import node_snapshot

START = (listener("outbound"), routes("out"), cluster("a"), endpoints("a"), host("a"))
BAD = host("a", stat="bad")
BAD_ROUTES = routes("out", stat="bad")


def rejecting(*bad: Resource) -> EnvoyModel:
    """An Envoy that NACKs exactly these versions."""
    bodies = [
        v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0].resource.value for resource in bad
    ]

    def reject(_type_url: str, _name: str, body: bytes) -> str:
        return "no good" if body in bodies else ""

    return EnvoyModel(reject=reject)


def opened(wire: Wire) -> Wire:
    wire.open(CDS, LDS)
    wire.subscribe(RDS, "out")
    wire.open(VHDS)
    wire.subscribe(VHDS, "out/a")
    return wire


def rejected_versions(wire: Wire) -> dict[tuple[str, str], str]:
    return {key: rejection.version for key, rejection in wire.delta.rejected.items()}


@pytest.fixture
def last_accepted() -> LastAccepted:
    """What a first proxy ACKed before anything was bad."""
    accepted = LastAccepted()
    opened(Wire(node_snapshot(*START), last_accepted=accepted))
    return accepted


def test_new_proxy_that_nacks_gets_the_version_its_identity_acked_last(last_accepted: LastAccepted) -> None:
    snapshot = node_snapshot(*START[:4], BAD, revision=2)
    wire = opened(Wire(snapshot, rejecting(BAD), last_accepted=last_accepted))
    assert wire.version(VHDS, "out/a") == START[4].version
    assert wire.version(CDS, "a") == START[2].version
    assert rejected_versions(wire) == {(VHDS, "out/a"): BAD.version}
    assert not wire.delta.is_synced
    sent = len(wire.log)
    wire.publish(wire.snapshot, compare_all=True)
    wire.idle()
    assert len(wire.log) == sent
    fine = host("a", stat="fine")
    update = wire.publish(node_snapshot(*START[:4], fine, revision=3))
    assert summarize(update) == [("VirtualHost", ["out/a"], [])]
    assert (wire.delta.rejected, wire.delta.is_synced) == ({}, True)
    assert wire.version(VHDS, "out/a") == fine.version


def test_routes_and_clusters_fall_back_too(last_accepted: LastAccepted) -> None:
    bad = cluster("a", 7)
    snapshot = node_snapshot(START[0], BAD_ROUTES, bad, *START[3:], revision=2)
    wire = opened(Wire(snapshot, rejecting(BAD_ROUTES, bad), last_accepted=last_accepted))
    assert wire.version(RDS, "out") == START[1].version
    assert wire.version(CDS, "a") == START[2].version
    assert wire.delta.rejected.keys() == {(RDS, "out"), (CDS, "a")}


def test_host_without_accepted_version_is_reported_nonexistent_and_stays_rejected() -> None:
    wire = opened(Wire(node_snapshot(*START[:4], BAD), rejecting(BAD)))
    assert summarize(wire.log)[-1] == ("VirtualHost", ["out/a"], [])
    assert wire.log[-1].items == (("out/a", ""),)
    assert wire.delta.rejected.keys() == {(VHDS, "out/a")}
    wire.subscribe(VHDS, "out/a")
    assert wire.log[-1].items == (("out/a", ""),)
    assert wire.delta.rejected.keys() == {(VHDS, "out/a")}
    good = host("a")
    wire.publish(node_snapshot(*START[:4], good, revision=2))
    assert wire.version(VHDS, "out/a") == good.version
    assert wire.delta.is_synced


def test_nacked_fallback_is_not_sent_again(last_accepted: LastAccepted) -> None:
    snapshot = node_snapshot(*START[:4], BAD, revision=2)
    wire = opened(Wire(snapshot, rejecting(BAD, START[4]), last_accepted=last_accepted))
    assert wire.version(VHDS, "out/a") == ""
    assert rejected_versions(wire) == {(VHDS, "out/a"): BAD.version}
    fallback = ("out/a", START[4].version)
    assert [response.items for response in wire.log if fallback in response.items] == [(fallback,)]


def test_clusters_of_a_fallback_are_sent(last_accepted: LastAccepted) -> None:
    bad = host("a", clusters=("b",), stat="bad")
    snapshot = node_snapshot(*START[:4], cluster("b"), endpoints("b"), bad, revision=2)
    wire = opened(Wire(snapshot, rejecting(bad), last_accepted=last_accepted))
    assert wire.version(VHDS, "out/a") == START[4].version
    assert {"a", "b"} <= wire.model.resources[CDS].keys()
    assert "a" in wire.model.resources[EDS]
