"""What an Envoy says of itself, and what of it is believed."""

from __future__ import annotations

import pytest

from control_plane.api.spiffe import Identity
from control_plane.envoy import codec, v3
from control_plane.errors import RefusedError
from control_plane.xds.node import admit

ORDERS = Identity("mesh.local", "service", "orders")


def node(zone: str = "", cluster: str = "orders") -> v3.Node:
    bindings = {"address": "127.0.0.1", "outbound": 15001, "inbound": 15006}
    return v3.Node(
        id="orders-1",
        cluster=cluster,
        metadata=codec.struct({"bindings": bindings}),
        locality=v3.Locality(zone=zone),
    )


@pytest.mark.parametrize("zone", ["", "east", "eu-west-1a"])
def test_its_zone_is_taken(zone: str) -> None:
    assert admit(ORDERS, node(zone)).bindings.zone == zone


@pytest.mark.parametrize("zone", ["a b", "-east", "e" * 64, "o\nst"])
def test_a_zone_that_no_label_can_have_is_refused(zone: str) -> None:
    with pytest.raises(RefusedError, match=r"node\.locality\.zone"):
        admit(ORDERS, node(zone))


def test_another_services_name_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"the certificate is spiffe://mesh\.local/service/orders"):
        admit(ORDERS, node(cluster="payments"))
