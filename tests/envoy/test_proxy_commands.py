"""Commands to sidecars of a real mesh through the admin API, and what happens when one does not respond."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import psutil
import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.test_why import mesh_process, tapping

TIMEOUT = 60
"""Seconds within which a missing response is reported: an agent has ten."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        assert running.get("front-1", "http://back/echo").status_code == 200
        yield running


@pytest.fixture
def mesh(shared: Mesh) -> Mesh:
    """The shared mesh, once every proxy responds to commands."""
    for name in ("front-1", "back-1", "ingress"):
        until(partial(responds, shared, name), f"{name} responds")
    return shared


def api(mesh: Mesh, path: str, method: str = "GET", **options: Any) -> requests.Response:
    """A request to a path below /proxies of the admin API."""
    url = json.loads((mesh.state / "mesh.json").read_text())["admin"]
    token = (mesh.state / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    return requests.request(
        method, f"{url}/api/v1/proxies/{path}", headers=headers, timeout=TIMEOUT, **options
    )


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Suspend a process."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def responds(mesh: Mesh, name: str) -> bool:
    """Whether a proxy responds to commands; not while the control plane is down."""
    try:
        return api(mesh, f"{name}/stats?filter=server.live").status_code == 200
    except requests.ConnectionError:
        return False


def test_every_sidecar_and_gateway_returns_its_statistics(mesh: Mesh) -> None:
    assert mesh.get("front-1", "http://back/echo").status_code == 200
    lines = mesh.run("proxy", "front-1", "stats", "--filter", r"^cluster\.back\.upstream_rq_2xx$").stdout
    name, count = lines.strip().split(": ")
    assert name == "cluster.back.upstream_rq_2xx"
    assert int(count) >= 2
    for proxy in ("back-1", "ingress"):
        assert api(mesh, f"{proxy}/stats?filter=server.live").json()["stats"] == {"server.live": 1}
    invalid = mesh.run("proxy", "front-1", "stats", "--filter", "(", check=False)
    assert (invalid.returncode, "front-1: Envoy says: Invalid re2 regex" in invalid.stderr) == (2, True)


def test_logs_of_envoy_and_app_can_be_read_and_followed(mesh: Mesh) -> None:
    logs = api(mesh, "back-1/logs?lines=5").json()["logs"]
    assert [part["source"] for part in logs] == ["proxy", "app"]
    assert [part["file"] for part in logs] == [
        str(mesh.state / "logs" / "back-1.proxy.log"), str(mesh.state / "logs" / "back-1.log"),
    ]  # fmt: skip
    gateway = api(mesh, "ingress/logs").json()["logs"]
    assert [part["source"] for part in gateway] == ["proxy"]
    api(mesh, "back-1/log-level", "PUT", json={"level": "debug", "logger": "admin", "seconds": 5})
    after = f"back-1/logs?proxy={logs[0]['end']}&app={logs[1]['end']}"
    until(
        lambda: responds(mesh, "back-1") and "[admin]" in api(mesh, after).json()["logs"][0]["text"],
        "Envoy logs the admin request",
    )
    until(lambda: api(mesh, "back-1/log-level").json()["resets_in"] is None, "it has been reset")


def test_logs_of_services_are_merged_followed_and_searched(mesh: Mesh) -> None:
    shown = mesh.run("logs", "front", "back", "-n", "1", "-o", "json").stdout.splitlines()
    assert {json.loads(line)["instance"] for line in shown} <= {"front-1", "back-1"}
    log = mesh.state / "logs" / "back-1.log"
    with log.open("a") as file:
        file.write("2020-12-02T08:30:05Z ERROR stock is gone\n  for product 7\n")
    matched = mesh.run("logs", "back", "--source", "app", "--grep", "stock|product").stdout
    assert matched == "back-1 | 2020-12-02T08:30:05Z ERROR stock is gone\nback-1 |   for product 7\n"
    assert not mesh.run("logs", "front", "--grep", "stock is gone").stdout
    assert not mesh.run("logs", "back", "--grep", "stock is gone", "--since", "1s").stdout
    with mesh_process(mesh, "logs", "--trace", "4BF92F35", "-f") as process, log.open("a") as file:
        file.write("2020-12-02T08:30:06Z other\n2020-12-02T08:30:06Z trace_id=4bf92f35 sold\n")
        file.flush()
        assert process.stdout
        assert process.stdout.readline() == "back-1 | 2020-12-02T08:30:06Z trace_id=4bf92f35 sold\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    for arguments, message in (
        (("bakc",), "bakc: no such service with instances: did you mean back?"),
        (("--grep", "("), "--grep: not a regular expression: missing ), unterminated subpattern"),
    ):
        wrong = mesh.run("logs", *arguments, check=False)
        assert (wrong.returncode, message in wrong.stderr) == (2, True), wrong.stderr


def test_instances_are_listed_with_host_and_process(mesh: Mesh) -> None:
    header, row = (line.split() for line in mesh.run("ps", "back").stdout.splitlines())
    assert header[:7] == ["INSTANCE", "SERVICE", "STATE", "RESTARTS", "AGE", "HOST", "PID"]
    assert row[:5] == ["back-1", "back", "●", "healthy", "0"]
    process = json.loads(mesh.run("ps", "back", "-o", "json").stdout)["items"][0]["process"]
    assert process["pid"] == mesh.pid("back-1")
    assert process["host"] == socket.gethostname()
    started = datetime.fromisoformat(process["started"]).timestamp()
    assert abs(started - psutil.Process(process["pid"]).create_time()) < 5
    assert f" {process['pid']} " in mesh.run("ps").stdout


def test_a_log_level_is_reset_after_its_time_and_is_an_event(mesh: Mesh) -> None:
    shown = mesh.run("proxy", "front-1", "log-level", "upstream=debug", "--for", "2s").stdout
    assert [line.split() for line in shown.splitlines()][1:4] == [
        ["misc", "error"],
        ["upstream", "debug"],
        ["all", "others", "warning"],
    ]
    until(lambda: api(mesh, "front-1/log-level").json()["resets_in"] is None, "it has been reset")
    assert api(mesh, "front-1/log-level").json()["loggers"]["upstream"] == "warning"
    message = "log level of upstream set to debug for 2 s"
    until(lambda: message in mesh.run("events", "--kind", "sidecar").stdout, "it is an event")
    unknown = mesh.run("proxy", "front-1", "log-level", "nosuch=debug", check=False)
    assert (unknown.returncode, "no such logger: nosuch" in unknown.stderr) == (2, True)


def test_an_unknown_name_is_reported_with_a_similar_one(mesh: Mesh) -> None:
    unknown = mesh.run("proxy", "fornt-1", "stats", check=False)
    assert (unknown.returncode, unknown.stderr) == (2, "no such proxy: fornt-1: did you mean front-1?\n")


def test_a_hung_envoy_is_reported_while_its_logs_can_still_be_read(mesh: Mesh) -> None:
    with frozen(mesh.pid("back-1.proxy")):
        hung = mesh.run("proxy", "back-1", "stats", check=False)
        assert (hung.returncode, "admin interface does not respond: timeout" in hung.stderr) == (4, True)
        assert api(mesh, "back-1/logs").status_code == 200
    until(lambda: responds(mesh, "back-1"), "it responds again")


def test_a_hung_agent_times_out_and_responds_again_afterwards(mesh: Mesh) -> None:
    with frozen(mesh.pid("agent")):
        hung = api(mesh, "front-1/logs")
        assert hung.status_code == 504
        message = hung.json()["error"]["message"]
        assert message.startswith("front-1: no response from its agent within 10 s")
    until(lambda: responds(mesh, "front-1"), "it responds again")


def test_concurrent_commands_do_not_wait_for_each_other(mesh: Mesh) -> None:
    statuses: list[int] = []

    def send(name: str) -> None:
        statuses.append(api(mesh, f"{name}/config?section=clusters").status_code)

    threads = [threading.Thread(target=send, args=(name,)) for name in ("front-1", "back-1", "ingress") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert statuses == [200] * 12


def test_commands_work_again_after_the_control_plane_was_killed(mesh: Mesh) -> None:
    with frozen(mesh.process.pid):  # the supervisor cannot start another one
        os.kill(mesh.pid("control-plane"), signal.SIGKILL)
        local = mesh.run("proxy", "front-1", "stats", "--filter", "^server.live$")
    assert local.stdout == "server.live: 1\n"
    until(lambda: responds(mesh, "front-1"), "the new control plane sends commands")


def test_a_tap_survives_a_restart_of_the_control_plane(mesh: Mesh) -> None:
    with tapping(mesh, "back", "--path", "/tapped") as process:
        os.kill(mesh.pid("control-plane"), signal.SIGKILL)
        assert process.stderr and process.stdout
        lines: list[str] = []
        while not lines or (lines[-1] and "again" not in lines[-1]):
            lines.append(process.stderr.readline())
        assert lines[0] == "control plane disconnected: reconnecting; requests until then are missed\n"
        message = r"tapping back again after \d+\.\d s: requests of that time may be missing\n"
        assert re.fullmatch(message, lines[-1]), lines
        for number in range(3):
            assert mesh.get("front-1", f"http://back/tapped/{number}").status_code == 200
        assert [f"/tapped/{n}" in process.stdout.readline() for n in range(3)] == [True] * 3
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
