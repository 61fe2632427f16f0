"""Sidecars of a real mesh are looked into through the admin API: what they tell, and what of silence."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.test_why import tapping

GIVEN_UP = 25
"""Seconds within which silence is told of: an agent has ten."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as actual_mesh:
        assert actual_mesh.get("front-1", "http://back/echo").status_code == 200
        yield actual_mesh


@pytest.fixture
def mesh(shared: Mesh) -> Mesh:
    """The mesh as every test wants to find it: each proxy can be asked."""
    for name in ("front-1", "back-1", "ingress"):
        until(partial(answers, shared, name), f"{name} answers")
    return shared


def api(mesh: Mesh, path: str, method: str = "GET", **options: Any) -> requests.Response:
    """A call to the admin API's part of proxies."""
    url = json.loads((mesh.state / "mesh.json").read_text())["admin"]
    token = (mesh.state / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    where = f"{url}/api/v1/proxies/{path}"
    return requests.request(method, where, headers=headers, timeout=GIVEN_UP, **options)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def answers(mesh: Mesh, name: str) -> bool:
    """Whether a proxy can be asked; not while there is no control plane."""
    try:
        return api(mesh, f"{name}/stats?filter=server.live").status_code == 200
    except requests.ConnectionError:
        return False


def test_every_sidecar_and_gateway_tells_its_statistics(mesh: Mesh) -> None:
    assert mesh.get("front-1", "http://back/echo").status_code == 200
    lines = mesh.run("proxy", "front-1", "stats", "--filter", r"^cluster\.back\.upstream_rq_2xx$").stdout
    name, count = lines.strip().split(": ")
    assert name == "cluster.back.upstream_rq_2xx"
    assert int(count) >= 2
    for proxy in ("back-1", "ingress"):
        assert api(mesh, f"{proxy}/stats?filter=server.live").json()["stats"] == {"server.live": 1}
    wrong = mesh.run("proxy", "front-1", "stats", "--filter", "(", check=False)
    assert (wrong.returncode, "front-1: Envoy says: Invalid re2 regex" in wrong.stderr) == (2, True)


def test_logs_of_envoy_and_app_are_told_and_followed(mesh: Mesh) -> None:
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
        lambda: answers(mesh, "back-1") and "[admin]" in api(mesh, after).json()["logs"][0]["text"],
        "Envoy's log tells of what it is asked",
    )
    until(lambda: api(mesh, "back-1/log-level").json()["resets_in"] is None, "it has returned")


def test_a_log_level_returns_by_itself_and_is_an_event(mesh: Mesh) -> None:
    shown = mesh.run("proxy", "front-1", "log-level", "upstream=debug", "--for", "2s").stdout
    assert [line.split() for line in shown.splitlines()][1:3] == [
        ["upstream", "debug"],
        ["all", "others", "warning"],
    ]
    until(lambda: api(mesh, "front-1/log-level").json()["resets_in"] is None, "it has returned")
    assert api(mesh, "front-1/log-level").json()["loggers"]["upstream"] == "warning"
    words = "log level of upstream set to debug for 2 s"
    until(lambda: words in mesh.run("events", "--kind", "sidecar").stdout, "it is an event")
    unknown = mesh.run("proxy", "front-1", "log-level", "nosuch=debug", check=False)
    assert (unknown.returncode, "no such logger: nosuch" in unknown.stderr) == (2, True)


def test_a_wrong_name_is_told_with_what_is_near(mesh: Mesh) -> None:
    wrong = mesh.run("proxy", "fornt-1", "stats", check=False)
    assert (wrong.returncode, wrong.stderr) == (2, "no such proxy: fornt-1: did you mean front-1?\n")


def test_a_hung_envoy_is_told_of_while_logs_are_still_read(mesh: Mesh) -> None:
    with frozen(mesh.pid("back-1.proxy")):
        silent = mesh.run("proxy", "back-1", "stats", check=False)
        assert (silent.returncode, "admin interface does not answer: timeout" in silent.stderr) == (4, True)
        assert api(mesh, "back-1/logs").status_code == 200
    until(lambda: answers(mesh, "back-1"), "it answers again")


def test_a_hung_agent_is_given_up_and_asked_again_when_it_is_back(mesh: Mesh) -> None:
    with frozen(mesh.pid("agent")):
        silent = api(mesh, "front-1/logs")
        assert silent.status_code == 504
        assert silent.json()["error"]["message"].startswith("front-1: its agent does not answer within 10 s")
    until(lambda: answers(mesh, "front-1"), "it answers again")


def test_asks_at_the_same_time_do_not_wait_for_each_other(mesh: Mesh) -> None:
    numbers: list[int] = []

    def ask(name: str) -> None:
        numbers.append(api(mesh, f"{name}/config?section=clusters").status_code)

    asking = [threading.Thread(target=ask, args=(name,)) for name in ("front-1", "back-1", "ingress") * 4]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(GIVEN_UP)
    assert numbers == [200] * 12


def test_asks_go_on_after_the_control_plane_was_killed(mesh: Mesh) -> None:
    with frozen(mesh.process.pid):  # nobody starts another one meanwhile
        os.kill(mesh.pid("control-plane"), signal.SIGKILL)
        local = mesh.run("proxy", "front-1", "stats", "--filter", "^server.live$")
    assert local.stdout == "server.live: 1\n"
    until(lambda: answers(mesh, "front-1"), "the new control plane can ask")


def test_a_tap_outlives_the_control_plane(mesh: Mesh) -> None:
    with tapping(mesh, "back", "--path", "/tapped") as process:
        os.kill(mesh.pid("control-plane"), signal.SIGKILL)
        assert process.stderr and process.stdout
        texts: list[str] = []
        while not texts or (texts[-1] and "again" not in texts[-1]):
            texts.append(process.stderr.readline())
        assert texts[0] == "the control plane is away: waiting for it, requests meanwhile are not seen\n"
        words = r"tapping back again after \d+\.\d s: requests of that time may be missing\n"
        assert re.fullmatch(words, texts[-1]), texts
        for number in range(3):
            assert mesh.get("front-1", f"http://back/tapped/{number}").status_code == 200
        assert [f"/tapped/{n}" in process.stdout.readline() for n in range(3)] == [True] * 3
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
