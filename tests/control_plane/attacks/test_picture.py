"""One identity cannot paint the picture of all: claims are attributed and held against what others say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import requests
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meshwright.control_plane.core.resource import CDS
from tests.control_plane.attacks.attacker import Attacker, refusal
from tests.control_plane.attacks.conftest import Api, until
from tests.control_plane.telemetry.log_exports import log_export
from tests.control_plane.telemetry.metric_exports import Stats, metrics_export
from tests.scale.plane import ControlPlaneProcess


@pytest.fixture(scope="module")
def mesh(plane: ControlPlaneProcess, admin: Api) -> Iterator[dict[str, Attacker]]:
    """orders calls inventory; evil has a certificate of its own."""
    workloads = {name: Attacker(plane, name) for name in ("orders", "inventory", "evil")}
    for name in ("orders", "inventory"):
        workloads[name].register(f"{name}-1")
    until(lambda: len(admin.get("/instances")["instances"]) == 2, "both are registered")
    yield workloads
    for workload in workloads.values():
        workload.__exit__(None, None, None)


def flush(mesh: dict[str, Attacker], name: str, clusters: dict[str, Stats], node: str = "") -> None:
    """A flush of a service's metrics."""
    body = metrics_export(name, node or f"{name}-1", clusters, at=time.time())
    mesh[name].export("metrics", ExportMetricsServiceRequest.FromString(body))


def healthy_traffic(mesh: dict[str, Attacker]) -> None:
    flush(mesh, "orders", {"inventory": {"upstream_rq_completed": 100}})
    flush(mesh, "inventory", {"/inbound": {"2": 100}})


def node(admin: Api, name: str) -> Any:
    return next(item for item in admin.get("/topology")["nodes"] if item["name"] == name)


@pytest.mark.parametrize("count", [100, 5_000, 10**12])
def test_claims_of_one_caller_do_not_make_a_service_unhealthy(
    admin: Api, mesh: dict[str, Attacker], count: int
) -> None:
    healthy_traffic(mesh)
    flush(mesh, "evil", {"inventory": {"upstream_rq_completed": count, "upstream_rq_5xx": count}})

    def shown() -> Any:
        healthy_traffic(mesh)
        edges = {(edge["from"], edge["to"]) for edge in admin.get("/topology")["edges"]}
        return ("orders", "inventory") in edges

    until(shown, "the traffic is shown")
    assert node(admin, "inventory")["health"] == "healthy"
    services = {row["name"]: row for row in admin.get("/services")["services"]}
    assert services["inventory"]["rps"] < 1_000
    assert services["inventory"]["success"] == 1.0


def test_telemetry_of_another_services_node_is_dropped(
    plane: ControlPlaneProcess, admin: Api, mesh: dict[str, Attacker]
) -> None:
    failed = {"upstream": "inventory", "status": "503", "flags": "UF", "request_id": "forged-1"}
    for sender, id in (("evil", "forged-1"), ("orders", "true-1")):
        body = log_export(sender, {**failed, "request_id": id}, node="orders-1", at=time.time())
        mesh[sender].export("logs", ExportLogsServiceRequest.FromString(body))
    until(lambda: admin.request("GET", "/why/true-1").status_code == 200, "the record of orders is there")
    assert admin.request("GET", "/why/forged-1").status_code == 404
    before = plane.metrics()['mesh_telemetry_dropped_total{reason="foreign"}']
    flush(mesh, "evil", {"inventory": {"upstream_rq_completed": 100}}, node="orders-1")
    name = 'mesh_telemetry_dropped_total{reason="foreign"}'
    until(lambda: plane.metrics()[name] > before, "the flush is dropped")


def test_prometheus_is_sent_to_no_other_address_and_to_no_invented_node(
    plane: ControlPlaneProcess, admin: Api, mesh: dict[str, Attacker]
) -> None:
    mesh["evil"].register("evil-1")
    until(lambda: len(admin.get("/instances")["instances"]) == 3, "evil is registered")
    reports = {"evil-1": "169.254.169.254:80", **{f"invented-{n}": "127.0.0.1:15080" for n in range(50)}}
    for name, metrics in reports.items():
        mesh["evil"].call("Report", node=name, service="evil", version="x", expires=1, metrics=metrics)
    mesh["orders"].call("Report", node="orders-1", service="orders", metrics="127.0.0.1:15020")
    targets = {target for group in admin.get("/prometheus/targets") for target in group["targets"]}
    assert "127.0.0.1:15020" in targets
    assert not targets & {"169.254.169.254:80", "127.0.0.1:15080"}
    assert sum(proxy["service"] == "evil" for proxy in admin.get("/proxies")["proxies"]) < 10
    text = requests.get(f"{plane.addresses.admin}/metrics", timeout=30).text
    assert sum("invented-" in line for line in text.splitlines()) < 20


def test_no_service_has_the_name_of_a_gateway(plane: ControlPlaneProcess, admin: Api) -> None:
    (gateway, *_) = [item["name"] for item in admin.get("/topology")["nodes"] if item["role"] == "gateway"]
    response = admin.request("POST", "/tokens", {"service": gateway, "ttl": 60})
    assert (response.status_code, "a gateway is named" in response.text) == (400, True)
    assert admin.request("POST", "/tokens", {"gateway": "orders", "ttl": 60}).status_code == 400
    with Attacker(plane, gateway) as impostor:
        attempts: list[Any] = [
            lambda: impostor.register(f"{gateway}-1"),
            lambda: impostor.call("Report", node=gateway, service=gateway),
            lambda: impostor.export("metrics", ExportMetricsServiceRequest()),
        ]
        for attempt in attempts:
            with pytest.raises(grpc.RpcError) as caught:
                attempt()
            assert refusal(caught.value)[0] == "PERMISSION_DENIED"


def test_no_gateway_acts_as_a_service_nor_a_service_as_a_connected_gateway(
    plane: ControlPlaneProcess, admin: Api, mesh: dict[str, Attacker]
) -> None:
    with Attacker(plane, "orders", "gateway") as impostor:
        attempts: list[Any] = [
            lambda: impostor.stream("orders", {CDS: ()}).read(),
            lambda: impostor.call("Report", node="orders", service="orders"),
            lambda: impostor.export("metrics", ExportMetricsServiceRequest()),
        ]
        for attempt in attempts:
            with pytest.raises(grpc.RpcError) as caught:
                attempt()
            assert refusal(caught.value)[0] == "PERMISSION_DENIED"
            assert "a service is named orders" in refusal(caught.value)[1]
    with Attacker(plane, "side-door", "gateway") as gateway, Attacker(plane, "side-door") as impostor:
        stream = gateway.stream("side-door", {CDS: ()})
        stream.read()
        with pytest.raises(grpc.RpcError) as caught:
            impostor.register("side-door-1")
        assert "a gateway is named side-door" in refusal(caught.value)[1]
        assert admin.request("POST", "/tokens", {"service": "side-door", "ttl": 60}).status_code == 400
        stream.close()


def test_lapsed_leases_leave_room_for_other_events(admin: Api, mesh: dict[str, Attacker]) -> None:
    for number in range(100):
        mesh["evil"].register(f"lapse-{number}")
        mesh["evil"].call("Deregister", instance=f"lapse-{number}")
    events = admin.get("/events?limit=500")["events"]
    assert sum("lapse-" in event["subject"] for event in events) <= 25
