"""Which fields of an Envoy's node are accepted."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.errors import PermissionDeniedError
from meshwright.control_plane.xds.node_identity import authorize_node

ORDERS = Identity("mesh.local", "service", "orders")


def node(zone: str = "", cluster: str = "orders", upstreams: Any = None) -> v3.Node:
    bindings: dict[str, Any] = {"address": "127.0.0.1", "outbound": 15001, "inbound": 15006}
    if upstreams is not None:
        bindings["upstreams"] = upstreams
    return v3.Node(
        id="orders-1",
        cluster=cluster,
        metadata=codec.struct({"bindings": bindings}),
        locality=v3.Locality(zone=zone),
    )


@pytest.mark.parametrize("zone", ["", "east", "eu-west-1a"])
def test_valid_zone_is_accepted(zone: str) -> None:
    assert authorize_node(ORDERS, node(zone)).bindings.zone == zone


@pytest.mark.parametrize("zone", ["a b", "-east", "e" * 64, "o\nst"])
def test_zone_that_is_not_a_label_value_is_denied(zone: str) -> None:
    with pytest.raises(PermissionDeniedError, match=r"node\.locality\.zone"):
        authorize_node(ORDERS, node(zone))


def test_cluster_of_another_service_is_denied() -> None:
    with pytest.raises(
        PermissionDeniedError, match=r"the certificate is spiffe://mesh\.local/service/orders"
    ):
        authorize_node(ORDERS, node(cluster="payments"))


def test_upstream_addresses_are_accepted() -> None:
    addresses = {"db": "127.10.0.3:5432", "db:replica": "127.10.0.4:5433"}
    upstreams = authorize_node(ORDERS, node(upstreams=addresses)).bindings.upstreams
    assert upstreams == (("db", "127.10.0.3", 5432), ("db:replica", "127.10.0.4", 5433))


@pytest.mark.parametrize(
    "addresses",
    [
        {"a b": "127.0.0.1:1"},
        {"db:": "127.0.0.1:1"},
        {"db": "127.0.0.1"},
        {"db": "127.0.0.1:0"},
        {"db": "127.0.0.1:65536"},
        {"db": "localhost:1"},
        {"db": 5432},
        {f"db-{number}": "127.0.0.1:1" for number in range(65)},
    ],
)
def test_invalid_upstream_addresses_are_denied(addresses: dict[str, Any]) -> None:
    with pytest.raises(PermissionDeniedError, match="bindings"):
        authorize_node(ORDERS, node(upstreams=addresses))


def test_secret_hash_is_the_base64_of_a_digest() -> None:
    text = "WARdb5hIV2xRkeZS772NmDazEwQ="
    peer = node()
    peer.metadata.fields["bindings"].struct_value.fields["secretHash"].string_value = text
    assert authorize_node(ORDERS, peer).bindings.secret_hash == text
    for wrong in ("x", f"{text}\nother:{{SHA}}{text}", text[:-1] + "A", "a:" + text, text + "\n"):
        peer.metadata.fields["bindings"].struct_value.fields["secretHash"].string_value = wrong
        with pytest.raises(PermissionDeniedError, match=r"secretHash is not the Base64") as caught:
            authorize_node(ORDERS, peer)
        assert text not in str(caught.value)


@pytest.mark.parametrize(("text", "option"), [("--port", "--port"), ("--listener", "--listener"), ("x", "")])
def test_option_that_chose_the_ports_is_one_that_exists(text: str, option: str) -> None:
    peer = node()
    peer.metadata.fields["bindings"].struct_value.fields["portOption"].string_value = text
    assert authorize_node(ORDERS, peer).port_option == option
