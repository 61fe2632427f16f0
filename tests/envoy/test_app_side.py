"""Between a sidecar and its app: an app that is busy, fails its health check, or crashes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import api

BURST = 300
"""Calls at once: more than the backlog of an asyncio server, 128."""

BUSY = 3.0
"""Seconds: two retransmissions of a SYN."""

REFUSE = """
apiVersion: meshwright.io/v1
kind: LoadBalancer
metadata: {name: strict}
spec: {targetRefs: [{kind: Service, name: back}], allUnhealthy: Refuse}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back", replicas=2), service("busy")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        yield running


def instances(mesh: Mesh, service_name: str) -> list[dict[str, Any]]:
    """The instances of a service, as the admin API has them."""
    listed = api(mesh, "/api/v1/instances").json()["instances"]
    return [instance for instance in listed if instance["service"] == service_name]


def set_health(mesh: Mesh, state: str) -> None:
    """Let the health checks of both instances of back fail or pass, and wait until the mesh knows."""
    for name in ("back-1", "back-2"):
        requests.post(f"{mesh.app(name)}/health/{state}", timeout=60).raise_for_status()
    expected = "unhealthy" if state == "fail" else "healthy"
    until(lambda: {item["health"] for item in instances(mesh, "back")} == {expected}, f"back is {expected}")


def wait_for_status(mesh: Mesh, status: int) -> None:
    until(lambda: mesh.get("front-1", "http://back/echo").status_code == status, f"back responds {status}")


def test_all_instances_that_fail_their_check_get_requests_unless_a_policy_refuses(mesh: Mesh) -> None:
    assert mesh.get("front-1", "http://back/echo").status_code == 200
    set_health(mesh, "fail")
    served = {mesh.get("front-1", "http://back/echo").headers.get("x-served-by") for _ in range(20)}
    assert served == {"back-1", "back-2"}
    for instance in instances(mesh, "back"):
        assert instance["last_resort"]
        assert "/health/ready returned 503" in instance["reason"]
    mesh.apply(REFUSE)
    wait_for_status(mesh, 503)
    response = mesh.get("front-1", "http://back/echo")
    request = response.headers["x-request-id"]
    why = until(lambda: _explanation(mesh, request), "the request is explained")
    assert any("/health/ready returned 503" in text for text in why["causes"][0]["instances"])
    mesh.delete("LoadBalancer", "strict")
    wait_for_status(mesh, 200)
    set_health(mesh, "ok")
    assert {instance["reason"] for instance in instances(mesh, "back")} == {""}


def _explanation(mesh: Mesh, request: str) -> dict[str, Any]:
    response = api(mesh, f"/api/v1/why/{request}")
    return response.json() if response.status_code == 200 else {}


def test_a_burst_at_a_busy_app_fails_no_call(mesh: Mesh) -> None:
    port, pid = mesh.ports("front-1")["outbound"], mesh.pid("busy-1")
    assert mesh.get("front-1", "http://busy/echo").status_code == 200

    async def call() -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET http://busy/echo HTTP/1.1\r\nHost: busy\r\nConnection: close\r\n\r\n")
        status = (await reader.readline()).split()[1].decode()
        writer.close()
        return status

    async def burst() -> Counter[str]:
        os.kill(pid, signal.SIGSTOP)
        calls = [asyncio.create_task(call()) for _ in range(BURST)]
        await asyncio.sleep(BUSY)
        os.kill(pid, signal.SIGCONT)
        return Counter(await asyncio.gather(*calls))

    assert asyncio.run(burst()) == {"200": BURST}
    assert [instance["health"] for instance in instances(mesh, "busy")] == ["healthy"]


def test_a_crash_is_an_event_with_its_signal_and_counted(mesh: Mesh) -> None:
    os.kill(mesh.pid("busy-1"), signal.SIGKILL)

    def restarted() -> bool:
        (instance,) = instances(mesh, "busy")
        return bool(instance["restarts"] == 1 and instance["health"] == "healthy")

    until(restarted, "the app is restarted")
    (instance,) = instances(mesh, "busy")
    assert (instance["reason"], instance["last_exit"]) == ("", "killed by SIGKILL")
    until(lambda: any("killed by SIGKILL" in text for text in _messages(mesh, "busy-1")), "an event says how")


def _messages(mesh: Mesh, subject: str) -> list[str]:
    events = api(mesh, "/api/v1/events?limit=200").json()["events"]
    return [event["message"] for event in events if event["subject"] == subject]


def test_a_sidecar_has_one_worker_and_the_ingress_one_for_each_core(mesh: Mesh) -> None:
    def workers(name: str) -> int:
        tasks = Path(f"/proc/{mesh.pid(f'{name}.proxy')}/task")
        return sum(comm.read_text().startswith("wrk:worker_") for comm in tasks.glob("*/comm"))

    assert workers("front-1") == 1
    assert workers("ingress") == len(os.sched_getaffinity(0))
