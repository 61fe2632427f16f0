"""TCP services: chains by SNI at the callee, a listener for each upstream at the caller, TCPRoutes."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.resource import CDS, EDS, LDS, VHDS
from meshwright.control_plane.core.snapshot import Bindings, Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec, v3
from tests.control_plane.core.worlds import HTTP, TCP, body, exchange, mesh, route, service, subset

LEDGER = service("ledger", ports=(TCP, Port(name="replica", protocol="tcp", number=5433)))
FRONT = Bindings(outbound=1, upstreams=(("ledger", "127.10.0.1", 5432), ("nobody", "127.10.0.2", 1)))


def snapshot_of(text: str = "") -> Snapshot:
    return translate(exchange(text, LEDGER)).snapshot


def of(name: str, bindings: Bindings, snapshot: Snapshot) -> dict[str, Any]:
    resources = snapshot.node(Identity("mesh.local", "service", name), bindings).base(LDS)
    return {name: body(resource) for name, resource in resources.items()}


def proxy(listener: Any) -> v3.TcpProxy:
    only = listener.filter_chains[0].filters[-1]
    message = codec.decode(only.typed_config.type_url, only.typed_config.value)
    assert isinstance(message, v3.TcpProxy)
    return message


def connections(rules: str, name: str = "r", parent: str = "{kind: Service, name: ledger}") -> str:
    """A TCPRoute as YAML."""
    text = route(name, rules, parent).replace("HTTPRoute", "TCPRoute")
    return text.replace("k8s.io/v1\n", "k8s.io/v1alpha2\n")


def test_inbound_each_tcp_port_is_selected_by_sni() -> None:
    inbound = of("ledger", Bindings(inbound=2), snapshot_of())["inbound"]
    names = [list(filter_chain.filter_chain_match.server_names) for filter_chain in inbound.filter_chains]
    assert names == [["tcp.ledger.mesh"], ["replica.ledger.mesh"]]
    assert [
        proxy(v3.Listener(filter_chains=[filter_chain])).cluster for filter_chain in inbound.filter_chains
    ] == [
        "/app/tcp",
        "/app/replica",
    ]
    assert all(filter_chain.HasField("transport_socket") for filter_chain in inbound.filter_chains)


@pytest.mark.parametrize("mode", ["Strict", "Permissive", "Disabled"])
def test_inbound_plaintext_goes_to_the_default_port(mode: str) -> None:
    snapshot = snapshot_of(mesh("MutualTLS", "m", f"mode: {mode}", "{kind: Service, name: ledger}"))
    inbound = of("ledger", Bindings(inbound=2), snapshot)["inbound"]
    plain = [
        filter_chain.name
        for filter_chain in inbound.filter_chains
        if not filter_chain.HasField("transport_socket")
    ]
    assert plain == ([] if mode == "Strict" else ["tcp-plaintext"])
    assert inbound.listener_filters
    assert inbound.continue_on_listener_filters_timeout == (mode != "Strict")


def test_tcp_clusters_have_no_http_options() -> None:
    snapshot = snapshot_of()
    for name in ("ledger", "ledger:replica"):
        actual_body = body(snapshot.shared[CDS, name])
        assert not actual_body.typed_extension_protocol_options
        assert actual_body.HasField("upstream_connection_options")
        assert (EDS, name) in snapshot.shared
    assert snapshot.dangling_references() == ()


def test_connect_leads_to_each_port_with_a_number_like_an_upstream() -> None:
    rules = "{backendRefs: [{name: ledger, weight: 3}, {name: nobody, weight: 1}]}"
    snapshot = snapshot_of(connections(rules, parent="{kind: Service, name: ledger, port: 5433}"))
    node = snapshot.node(Identity("mesh.local", "service", "front"), FRONT)
    first, second = (node.get(VHDS, f"out/ledger.mesh:{number}") for number in (5432, 5433))
    assert first
    assert second
    assert body(first).routes[0].route.cluster == "ledger"
    weighted = body(second).routes[0].route.weighted_clusters.clusters
    assert {each.name: each.weight.value for each in weighted} == {"ledger": 3, "/blackhole": 1}
    assert second.policies == ("TCPRoute/r",)
    assert snapshot.dangling_references() == ()


def test_http_keeps_a_number_that_a_tcp_port_has_too() -> None:
    both = service("both", ports=(Port(number=5432), TCP))
    node = translate(exchange("", both)).snapshot.node(Identity("mesh.local", "service", "front"), FRONT)
    host = node.get(VHDS, "out/both:5432")
    assert host
    assert body(host).routes[0].route.cluster == "both"
    assert body(host).name == "out/both"


def test_caller_listens_for_declared_upstreams() -> None:
    snapshot = snapshot_of()
    result = of("orders", FRONT, snapshot)
    assert proxy(result["tcp/ledger"]).cluster == "ledger"
    address = result["tcp/ledger"].address.socket_address
    assert (address.address, address.port_value) == ("127.10.0.1", 5432)
    assert proxy(result["tcp/nobody"]).cluster == "/blackhole"
    node = snapshot.node(Identity("mesh.local", "service", "orders"), FRONT)
    assert node.base(LDS)["tcp/ledger"].required_clusters == ("ledger",)
    assert proxy(result["tcp/ledger"]).HasField("idle_timeout")


def test_upstream_by_port_name_and_first_tcp_port_of_a_mixed_service() -> None:
    mixed = service("mixed", ports=(HTTP, TCP))
    snapshot = translate(exchange("", mixed, LEDGER)).snapshot
    bindings = Bindings(upstreams=(("mixed", "127.10.0.1", 1), ("ledger:replica", "127.10.0.2", 2)))
    result = of("orders", bindings, snapshot)
    assert proxy(result["tcp/mixed"]).cluster == "mixed:tcp"
    assert proxy(result["tcp/ledger:replica"]).cluster == "ledger:replica"


def test_tcp_route_splits_connections_by_weight() -> None:
    refs = "{name: ledger, weight: 9}, {group: meshwright.io, kind: Subset, name: v2}, {name: catalog}, "
    refs += "{name: ledger, port: 5433, weight: 0}"
    snapshot = snapshot_of(connections(f"{{backendRefs: [{refs}]}}") + subset("v2", "ledger"))
    shares = proxy(of("orders", FRONT, snapshot)["tcp/ledger"]).weighted_clusters.clusters
    assert {share.name: share.weight for share in shares} == {"ledger": 9, "ledger/v2": 1, "/blackhole": 1}
    assert (LDS, "tcp/ledger") in snapshot.changed_from(snapshot_of())


def test_tcp_route_older_of_two_applies() -> None:
    both = connections("{backendRefs: [{name: ledger}]}", "b")
    both += connections("{backendRefs: [{name: ledger, port: 5433}]}", "a")
    assert proxy(of("orders", FRONT, snapshot_of(both))["tcp/ledger"]).cluster == "ledger:replica"
