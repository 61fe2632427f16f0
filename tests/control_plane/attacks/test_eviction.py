"""A proxy that never ACKs holds up only what concerns it, and is taken out of the mesh by an eviction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from meshwright.control_plane.core.resource import CDS, EDS, VHDS
from tests.control_plane.attacks.attacker import Attacker, SilentStream, refusal
from tests.control_plane.attacks.conftest import Api, until
from tests.scale.plane import ControlPlaneProcess

MESSAGE = "it never answers"


@pytest.fixture(scope="module")
def evil(plane: ControlPlaneProcess) -> Iterator[Attacker]:
    with Attacker(plane, "evil") as attacker:
        yield attacker


@pytest.fixture(scope="module")
def silent(plane: ControlPlaneProcess, evil: Attacker, admin: Api) -> Iterator[SilentStream]:
    """evil-1: it subscribes to inventory and never ACKs. evil has two instances, orders and inventory one."""
    for name in ("inventory", "orders"):
        with Attacker(plane, name) as workload:
            workload.register(f"{name}-1")
    for instance in ("evil-1", "evil-2"):
        evil.register(instance)
    until(lambda: len(admin.get("/instances")["instances"]) == 4, "all instances are registered")
    stream = evil.stream("evil-1", {CDS: ("inventory",), EDS: ("inventory",), VHDS: ("out/inventory",)})
    stream.read()
    yield stream
    stream.close()


def retry(api: Api, service: str) -> int:
    """Apply a Retry for a service; returns its revision."""
    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": "Retry",
        "metadata": {"name": service},
        "spec": {"targetRefs": [{"kind": "Service", "name": service}], "attempts": 2},
    }
    response = api.request("POST", "/apply", {"documents": [{"document": document}]})
    assert response.status_code == 200, response.text
    return int(response.json()["revision"])


def wait(api: Api, revision: int, seconds: float) -> Any:
    return api.get(f"/wait?revision={revision}&timeout={seconds}")


def test_only_what_concerns_a_silent_proxy_waits_for_it(admin: Api, silent: SilentStream) -> None:
    result = wait(admin, retry(admin, "inventory"), 3)
    assert (result["state"], [proxy["name"] for proxy in result["proxies"]]) == ("timeout", ["evil-1"])
    result = wait(admin, retry(admin, "orders"), 60)
    assert result["state"] == "programmed"
    assert [proxy["name"] for proxy in result["pending_older"]] == ["evil-1"]


def test_an_evicted_enrolment_is_refused_at_every_port(
    plane: ControlPlaneProcess, admin: Api, reader: Api, evil: Attacker, silent: SilentStream
) -> None:
    body = {"author": "ana", "message": MESSAGE}
    assert reader.request("POST", "/proxies/evil-1/evict", body).status_code == 403
    assert admin.request("POST", "/proxies/nobody-1/evict", body).status_code == 404
    response = admin.request("POST", "/proxies/evil-1/evict", body)
    assert (response.status_code, response.json()) == (
        200, {"name": "evil-1", "service": "evil", "enrolments": 1},
    )  # fmt: skip
    assert wait(admin, 2, 60)["state"] == "programmed"
    with pytest.raises(grpc.RpcError) as caught:
        while True:
            silent.read()
    assert refusal(caught.value) == (
        "PERMISSION_DENIED",
        f"evil-1 was evicted by ana: {MESSAGE}: restart it to enrol it again",
    )
    attempts: list[Any] = [
        lambda: evil.register("evil-3"),
        lambda: evil.call("Renew", csr="x", token=""),
        lambda: evil.call("Report", node="evil-1", service="evil"),
        lambda: evil.export("metrics", ExportMetricsServiceRequest()),
        lambda: evil.stream("evil-4", {CDS: ()}).read(),
    ]
    for attempt in attempts:
        with pytest.raises(grpc.RpcError) as caught:
            attempt()
        assert refusal(caught.value)[0] == "PERMISSION_DENIED"
    until(lambda: "evil" not in {i["service"] for i in admin.get("/instances")["instances"]}, "they are gone")


def test_an_eviction_is_an_event_with_its_author_and_shown_at_the_proxy(admin: Api) -> None:
    events = until(
        lambda: [e for e in admin.get("/events")["events"] if e["message"].startswith("evicted")],
        "there is an event",
    )
    assert [(e["subject"], e["message"], e["author"], e["severity"]) for e in events] == [
        ("evil-1", f"evicted: {MESSAGE}", "ana", "warning")
    ]
    (proxy,) = [p for p in admin.get("/proxies")["proxies"] if p["name"] == "evil-1"]
    assert proxy["state"] == "disconnected"
    assert "evicted by ana" in proxy["error"]


def service(api: Api, name: str) -> Any:
    (only,) = [row for row in api.get("/services")["services"] if row["name"] == name]
    return only


def test_a_service_without_its_evicted_instances_is_unhealthy_and_says_why(admin: Api) -> None:
    row = until(lambda: (r := service(admin, "evil"))["health"] == "unhealthy" and r, "it is unhealthy")
    assert re.fullmatch(rf"evil-[12]: evicted by ana at [\d-]+ [\d:]+ UTC: {MESSAGE}", row["reason"])
    verdict = admin.get("/status")["verdict"]
    assert not verdict["healthy"]
    assert row["reason"] in [problem["message"] for problem in verdict["problems"]]


def test_a_new_enrolment_is_accepted(plane: ControlPlaneProcess, admin: Api) -> None:
    with Attacker(plane, "evil") as enrolled_again:
        assert enrolled_again.register("evil-1")["ttl"] > 0
        until(lambda: service(admin, "evil")["health"] == "healthy", "it is healthy")
        stream = enrolled_again.stream("evil-1", {CDS: ()})
        assert stream.read().type_url == CDS
        stream.close()
