"""Who refuses a version and has no other is given the one that its like took last."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted
from tests.control_plane.xds.world import Wire, cluster, endpoints, host, listener, mesh, routes, summarize
from tests.fakes.envoy import EnvoyModel

START = (listener("outbound"), routes("out"), cluster("a"), endpoints("a"), host("a", needs=("a",)))
BAD = host("a", needs=("a",), stat="bad")
BAD_ROUTES = routes("out", stat="bad")


def refusing(*bad: Resource) -> EnvoyModel:
    """An Envoy that refuses these very versions."""
    bodies = [v3.DeltaDiscoveryResponse.FromString(one.wire).resources[0].resource.value for one in bad]

    def refuse(_type_url: str, _name: str, body: bytes) -> str:
        return "no good" if body in bodies else ""

    return EnvoyModel(reject=refuse)


def opened(wire: Wire) -> Wire:
    wire.open(CDS, LDS)
    wire.subscribe(RDS, "out")
    wire.open(VHDS)
    wire.subscribe(VHDS, "out/a")
    return wire


@pytest.fixture
def proven() -> LastAccepted:
    """What a first proxy took before anything was bad."""
    kept = LastAccepted()
    opened(Wire(mesh(*START), last_accepted=kept))
    return kept


def version(wire: Wire, type_url: str, name: str) -> str:
    return wire.model.resources[type_url].get(name, ("", b""))[0]


def test_a_new_proxy_gets_the_last_version_that_its_like_took(proven: LastAccepted) -> None:
    wire = opened(Wire(mesh(*START[:4], BAD, revision=2), refusing(BAD), last_accepted=proven))
    assert version(wire, VHDS, "out/a") == START[4].version
    assert version(wire, CDS, "a") == START[2].version
    assert {key: why.version for key, why in wire.delta.rejected.items()} == {(VHDS, "out/a"): BAD.version}
    assert not wire.delta.is_synced
    sent = len(wire.log)
    wire.publish(wire.snapshot, everything=True)
    wire.idle()
    assert len(wire.log) == sent
    fine = host("a", needs=("a",), stat="fine")
    assert summarize(wire.publish(mesh(*START[:4], fine, revision=3))) == [("VirtualHost", ["out/a"], [])]
    assert (wire.delta.rejected, wire.delta.is_synced) == ({}, True)
    assert version(wire, VHDS, "out/a") == fine.version


def test_routes_and_clusters_fall_back_too(proven: LastAccepted) -> None:
    bad = cluster("a", 7)
    config = mesh(START[0], BAD_ROUTES, bad, *START[3:], revision=2)
    wire = opened(Wire(config, refusing(BAD_ROUTES, bad), last_accepted=proven))
    assert version(wire, RDS, "out") == START[1].version
    assert version(wire, CDS, "a") == START[2].version
    assert wire.delta.rejected.keys() == {(RDS, "out"), (CDS, "a")}


def test_a_host_that_nobody_ever_took_is_answered_at_once_and_stays_refused() -> None:
    wire = opened(Wire(mesh(*START[:4], BAD), refusing(BAD)))
    assert summarize(wire.log)[-1] == ("VirtualHost", ["out/a"], [])
    assert wire.log[-1].items == (("out/a", ""),)
    assert wire.delta.rejected.keys() == {(VHDS, "out/a")}
    assert wire.log[-1].items == (("out/a", ""),)
    wire.subscribe(VHDS, "out/a")
    assert wire.delta.rejected.keys() == {(VHDS, "out/a")}
    good = host("a", needs=("a",))
    wire.publish(mesh(*START[:4], good, revision=2))
    assert version(wire, VHDS, "out/a") == good.version
    assert wire.delta.is_synced


def test_a_refused_spare_is_not_sent_again_either(proven: LastAccepted) -> None:
    wire = opened(Wire(mesh(*START[:4], BAD, revision=2), refusing(BAD, START[4]), last_accepted=proven))
    assert version(wire, VHDS, "out/a") == ""
    assert {key: why.version for key, why in wire.delta.rejected.items()} == {(VHDS, "out/a"): BAD.version}
    assert [each.items for each in wire.log if ("out/a", START[4].version) in each.items] == [
        (("out/a", START[4].version),)
    ]


def test_what_a_spare_needs_is_there(proven: LastAccepted) -> None:
    bad = host("a", needs=("b",), stat="bad")
    config = mesh(*START[:4], cluster("b"), endpoints("b"), bad, revision=2)
    wire = opened(Wire(config, refusing(bad), last_accepted=proven))
    assert version(wire, VHDS, "out/a") == START[4].version
    assert {"a", "b"} <= wire.model.resources[CDS].keys()
    assert "a" in wire.model.resources[EDS]
