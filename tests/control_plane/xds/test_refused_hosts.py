"""Names of services that are no hosts lead nowhere past the mesh, and make room when a port gets them."""

from __future__ import annotations

from meshwright.control_plane.core.resource import RDS, VHDS
from meshwright.control_plane.envoy import v3
from tests.control_plane.xds.resources import host, routes
from tests.control_plane.xds.wire import Wire, summarize
from tests.fakes.snapshot import HandMadeNode


def node(revision: int, *names: str) -> HandMadeNode:
    """A snapshot with these hosts, in a mesh whose service is called a."""
    resources = [routes("out"), *(host(name, ()) for name in names)]
    return HandMadeNode(
        revision, {(item.type_url, item.name): item for item in resources}, services=frozenset({"a"})
    )


def wire() -> Wire:
    stream = Wire(node(1))
    stream.open(RDS, VHDS)
    return stream


def test_unknown_port_of_a_service_is_a_host_that_refuses() -> None:
    stream = wire()
    (response,) = stream.subscribe(VHDS, "out/a:9")
    message = v3.DeltaDiscoveryResponse.FromString(response.data)
    refused = v3.VirtualHost.FromString(message.resources[0].resource.value)
    assert list(refused.domains) == ["a:9"]
    assert [route.direct_response.status for route in refused.routes] == [404, 404]


def test_unknown_name_is_no_host() -> None:
    stream = wire()
    (response,) = stream.subscribe(VHDS, "out/b:9")
    message = v3.DeltaDiscoveryResponse.FromString(response.data)
    assert not message.resources[0].HasField("resource")


def test_refusal_is_removed_when_a_host_gets_the_name() -> None:
    stream = wire()
    stream.subscribe(VHDS, "out/a.mesh")
    stream.subscribe(VHDS, "out/a:9")
    assert summarize(stream.publish(node(2, "a"))) == [("VirtualHost", ["out/a"], ["out/a.mesh"])]
