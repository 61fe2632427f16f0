"""World → Snapshot: resources, their reuse, and which node sees which."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import inbound, outbound
from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, length_delimited, varint
from meshwright.control_plane.core.snapshot import Bindings, Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.views import DestinationView
from meshwright.control_plane.core.world import Service, World
from meshwright.control_plane.envoy import codec, v3
from tests.control_plane.core.worlds import (
    GRPC,
    HTTP,
    body,
    documents,
    exchange,
    instance,
    mesh,
    route,
    service,
    subset,
    world,
)

BINDINGS = Bindings("127.0.0.1", 15001, 15006, (("http", 8080),))


def snapshot_of(text: str = "") -> Snapshot:
    return translate(exchange(text)).snapshot


def as_bytes(snapshot: Snapshot) -> list[bytes]:
    datas = [resource.wire for _, resources in snapshot.node_resources() for resource in resources]
    return [resource.wire for _, resource in sorted(snapshot.shared.items())] + datas


def test_resource_wire_is_an_entry_of_a_response() -> None:
    for resource in snapshot_of().shared.values():
        resources = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources
        assert [(item.name, item.version) for item in resources] == [(resource.name, resource.version)]
    assert [varint(number) for number in (0, 127, 128, 300)] == [b"\x00", b"\x7f", b"\x80\x01", b"\xac\x02"]
    assert v3.Resource.FromString(length_delimited(3, b"n" * 200)).name == "n" * 200


def test_endpoints_equal_an_encoded_assignment() -> None:
    instances = (instance("a", 1), instance("b", 2, "unhealthy"), instance("c", 3, "draining"))
    resource = translate(world(service("s", *instances))).snapshot.shared[EDS, "s"]
    expected = v3.ClusterLoadAssignment(cluster_name="s", endpoints=[v3.LocalityLbEndpoints()])
    for number, health in ((1, "HEALTHY"), (2, "UNHEALTHY"), (3, "DRAINING")):
        place = v3.SocketAddress(address="127.0.0.1", port_value=number)
        expected.endpoints[0].lb_endpoints.append(
            v3.LbEndpoint(
                endpoint=v3.Endpoint(address=v3.Address(socket_address=place)),
                health_status=v3.HealthStatus.Value(health),
            )
        )
    packed = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0].resource
    assert packed.value == codec.encode(expected)


def test_virtual_hosts_have_the_names_and_ports_of_a_service() -> None:
    hosts = {
        resource.name: list(body(resource).domains)
        for (kind, _), resource in snapshot_of().shared.items()
        if kind == VHDS
    }
    assert hosts["out/orders"] == ["orders", "orders.mesh", "orders:80", "orders.mesh:80"]
    assert hosts["out/orders:9090"] == ["orders:9090", "orders.mesh:9090"]


def test_no_domain_belongs_to_two_ports() -> None:
    ports = (Port(name="grpc", protocol="grpc", number=80), HTTP, Port(name="other", number=80))
    snapshot = translate(world(service("s", ports=ports))).snapshot
    domains = [
        domain
        for resource in snapshot.shared.values()
        if resource.type_url == VHDS
        for domain in body(resource).domains
    ]
    assert sorted(domains) == sorted(set(domains))
    assert list(body(snapshot.shared[VHDS, "out/s"]).domains)[:2] == ["s", "s.mesh"]
    assert body(snapshot.shared[VHDS, "out/s"]).routes[0].route.cluster == "s"


def test_node_sees_only_its_own_resources() -> None:
    text = mesh("Timeout", "t", "from: [orders], request: 3s", "{kind: Service, name: catalog}")
    snapshot = snapshot_of(text)
    orders = snapshot.node(Identity("mesh.local", "service", "orders"), BINDINGS)
    catalog = snapshot.node(Identity("mesh.local", "service", "catalog"), BINDINGS)
    ingress = snapshot.node(Identity("mesh.local", "gateway", "ingress"), BINDINGS)
    assert set(orders.base(LDS)) == {"outbound", "inbound", "connect"}
    assert set(ingress.base(LDS)) == {"ingress"}
    assert orders.get(RDS, "in:grpc") and not catalog.get(RDS, "in:grpc")
    assert ingress.get(VHDS, "out/catalog") is None
    assert ingress.get(LDS, "inbound") is None
    resource, other = (node_snapshot.get(VHDS, "out/catalog:80") for node_snapshot in (orders, catalog))
    assert resource and other
    assert body(resource).routes[0].route.timeout.seconds == 3
    assert body(other).routes[0].route.timeout.seconds == 0
    assert orders.get(VHDS, "out/nobody") is None


def test_changed_from_lists_exactly_the_changed_resources() -> None:
    before = translate(exchange())
    policy = mesh("Timeout", "t", "request: 3s", "{kind: Service, name: catalog}")
    after = translate(exchange(policy), before)
    assert after.snapshot.changed_from(before.snapshot) == {(VHDS, "out/catalog")}
    assert before.snapshot.changed_from(before.snapshot) == frozenset()
    subsets = translate(exchange(policy + subset("inventory-v2")), after)
    name = "inventory/inventory-v2"
    assert subsets.snapshot.changed_from(after.snapshot) == {(CDS, name), (EDS, name)}


def test_policy_with_a_filter_changes_only_virtual_hosts() -> None:
    before = translate(exchange())
    policy = mesh("HeaderPolicy", "h", "request: {remove: [x-a]}", "{kind: Service, name: catalog}")
    after = translate(exchange(policy), before)
    assert after.snapshot.changed_from(before.snapshot) == {(VHDS, "out/catalog")}


def test_policy_for_callers_does_not_change_the_callees_listeners() -> None:
    plain = snapshot_of()
    text = mesh("Retry", "r", "attempts: 1", "{kind: Service, name: catalog}")
    text += mesh("Timeout", "t", "request: 1s")
    changed = snapshot_of(text)
    assert changed.nodes == plain.nodes
    assert changed.shared[CDS, "orders"] is not plain.shared[CDS, "orders"]
    assert changed.shared[CDS, "orders"].wire == plain.shared[CDS, "orders"].wire
    assert changed.shared[CDS, "catalog"].policies == ("Retry/r",)


def test_translate_rebuilds_only_affected_destinations(monkeypatch: pytest.MonkeyPatch) -> None:
    translated: list[str] = []
    real: Callable[[DestinationView], tuple[object, ...]] = outbound.destination

    def counted(view: DestinationView) -> tuple[object, ...]:
        translated.append(view.service)
        return real(view)

    monkeypatch.setattr(outbound, "destination", counted)
    first = translate(exchange())
    assert sorted(translated) == ["catalog", "inventory", "orders"]
    translated.clear()
    text = mesh("Timeout", "t", "request: 3s", "{kind: Service, name: catalog}")
    second = translate(exchange(text), first)
    assert translated == ["catalog"]
    for key, resource in first.snapshot.shared.items():
        assert second.snapshot.shared[key].wire == resource.wire or key == (VHDS, "out/catalog")
    translated.clear()
    services = {**exchange(text).services, "catalog": service("catalog", instance("new", 9))}
    third = translate(World(2, services, second.world.documents), second)
    assert translated == []
    assert third.snapshot.changed_from(second.snapshot) == {(EDS, "catalog")}
    assert third.views is second.views


def test_translate_failing_destination_keeps_its_last_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    first = translate(exchange())
    real = outbound.destination

    def failing(view: DestinationView) -> object:
        if view.service == "catalog":
            raise ValueError("broken")
        return real(view)

    monkeypatch.setattr(outbound, "destination", failing)
    second = translate(exchange(mesh("Timeout", "t", "request: 3s")), first)
    assert second.snapshot.shared[VHDS, "out/catalog"] is first.snapshot.shared[VHDS, "out/catalog"]
    assert second.snapshot.shared[VHDS, "out/orders"] is not first.snapshot.shared[VHDS, "out/orders"]
    assert second.snapshot.problems == ("service catalog keeps its last configuration: broken",)


def test_translate_order_of_documents_does_not_matter() -> None:
    parts = [
        mesh("Timeout", "t", "request: 3s"),
        mesh("Retry", "r", "attempts: 1"),
        subset("inventory-v2"),
        route("a", "{backendRefs: [{name: inventory}]}"),
        route("b", "{backendRefs: [{name: catalog}]}"),
    ]
    assert as_bytes(snapshot_of("".join(parts))) == as_bytes(snapshot_of("".join(reversed(parts))))


SCRIPT = """
from tests.control_plane.core.test_translate import as_bytes, mesh, snapshot_of
import hashlib
text = mesh("Retry", "r", "attempts: 1, from: [orders, catalog]")
print(hashlib.sha256(b"".join(as_bytes(snapshot_of(text)))).hexdigest())
"""


def test_translate_gives_the_same_bytes_in_every_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("mode", "chains"),
    [
        ("Strict", ["http-mtls", "grpc-mtls"]),
        ("Permissive", ["http-mtls", "http-plaintext", "grpc-mtls"]),
        ("Disabled", ["http-mtls", "http-plaintext", "grpc-mtls"]),
    ],
)
def test_inbound_filter_chains_by_mutual_tls_mode(mode: str, chains: list[str]) -> None:
    snapshot = snapshot_of(mesh("MutualTLS", "m", f"mode: {mode}"))
    (resource,) = inbound.listeners(snapshot.nodes["orders"], "127.0.0.1", 15006)
    assert [filter_chain.name for filter_chain in body(resource).filter_chains] == chains
    plain = [
        not body(snapshot.shared[CDS, name]).HasField("transport_socket")
        for name in ("orders", "orders:grpc")
    ]
    assert plain == [mode == "Disabled", False]


def test_service_without_ports_has_no_inbound_listener() -> None:
    no_ports = Service("s", (), ())
    snapshot = translate(world(no_ports, policy_documents=documents(subset("x", "s")))).snapshot
    node = snapshot.node(Identity("mesh.local", "service", "s"), BINDINGS)
    assert set(node.base(LDS)) == {"outbound", "connect"}
    assert snapshot.dangling_references() == ()


@pytest.mark.parametrize("kind", ["Service, name: db", "Service, name: db, port: 5432"])
def test_tcp_service_is_not_a_backend_of_an_http_route(kind: str) -> None:
    tcp = Port(name="db", protocol="tcp", number=5432)
    policy_documents = documents(route("r", f"{{backendRefs: [{{kind: {kind}}}]}}"))
    snapshot = translate(
        world(service("inventory"), service("db", ports=(tcp,)), policy_documents=policy_documents)
    ).snapshot
    assert body(snapshot.shared[VHDS, "out/inventory"]).routes[0].direct_response.status == 500


def test_subset_of_a_tcp_service_is_not_a_backend_of_an_http_route() -> None:
    tcp = Port(name="db", protocol="tcp", number=5432)
    rule = "{backendRefs: [{group: meshwright.io, kind: Subset, name: x}]}"
    policy_documents = documents(route("r", rule) + subset("x", "db"))
    snapshot = translate(
        world(service("inventory"), service("db", ports=(tcp,)), policy_documents=policy_documents)
    ).snapshot
    assert snapshot.dangling_references() == ()
    assert body(snapshot.shared[VHDS, "out/inventory"]).routes[0].direct_response.status == 500


def test_service_may_be_called_blackhole() -> None:
    snapshot = translate(world(service("blackhole", ports=(HTTP, GRPC)))).snapshot
    node = snapshot.node(Identity("mesh.local", "service", "blackhole"), BINDINGS)
    resource = node.get(CDS, "blackhole")
    assert resource and body(resource).type == v3.Cluster.EDS
