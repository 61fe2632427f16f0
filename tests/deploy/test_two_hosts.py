"""One mesh on three hosts: two with a service, one with the control plane and Prometheus."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from meshwright.sidecar.control_client import fetch_status
from tests.deploy.network import Network
from tests.envoy.harness import ROOT, application, service, until

pytestmark = pytest.mark.timeout(300)

HUB, LEFT, RIGHT = "hub", "left", "right"

OPEN = {HUB: {15011, 15012, 4317, 8080}, LEFT: {15006, 15020}, RIGHT: {15006, 15020}}
"""The documented ports. The sidecars of the hub have ports between 20000 and 32000."""

FETCH = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": "http://127.0.0.1:15001"}))
print(opener.open(sys.argv[1], timeout=10).read().decode())
"""


@dataclass
class Hosts:
    """The hosts and their processes."""

    network: Network
    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, host: str) -> dict[str, str]:
        """The environment of a host: the settings of docs/machines.md, without those of this machine."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MESH_") and not name.lower().endswith("_proxy")
        }
        variables = {"MESH_STATE": str(self.folder / host), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        if host == HUB:
            variables |= dict.fromkeys(("MESH_BIND", "MESH_ADVERTISE"), self.network.addresses[HUB])
        return {**clean, **variables}

    def start(self, host: str, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program on a host."""
        log = (self.folder / f"{host}.log").open("ab")
        process = subprocess.Popen(
            [*self.network.enter(host), *argv],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=self.environment(host),
            cwd=ROOT,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def run(self, host: str, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program on a host until it exits."""
        return subprocess.run(
            [*self.network.enter(host), *argv],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment(host),
            cwd=ROOT,
            check=False,
        )

    def mesh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`mesh ARGUMENTS` on the host of the control plane."""
        return self.run(HUB, sys.executable, "-m", "meshwright.cli", *arguments)

    def status(self) -> dict[str, Any]:
        """`mesh status`; empty while the control plane does not respond."""
        done = self.mesh("status", "-o", "json")
        result: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return result

    def proxies(self) -> dict[str, str]:
        """The states of the proxies by name."""
        return {proxy["name"]: proxy["state"] for proxy in self.status().get("proxies", ())}

    def fetch(self, host: str, url: str) -> str:
        """The response to an app of a host that calls through its sidecar; empty on failure."""
        done = self.run(host, sys.executable, "-c", FETCH, url)
        return done.stdout if done.returncode == 0 else ""

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of a Prometheus query; empty while Prometheus does not respond."""
        url = f"http://127.0.0.1:9090/api/v1/query?query={urllib.parse.quote(expression)}"
        done = self.run(HUB, "/usr/bin/curl", "-sS", "--fail", "--max-time", "10", url)
        result: list[dict[str, Any]] = json.loads(done.stdout)["data"]["result"] if done.stdout else []
        return result

    def listening_ports(self, host: str) -> set[int]:
        """Ports that are open on other addresses than loopback."""
        done = self.run(host, "ss", "-Hltn")
        assert done.returncode == 0, done.stderr
        matches = (re.fullmatch(r"(.*):(\d+)", line.split()[3]) for line in done.stdout.splitlines())
        return {int(match[2]) for match in matches if match and not re.match(r"127\.|\[::1\]", match[1])}

    def stop(self) -> None:
        """Stop all processes, the last started first."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.running):
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(60)


PROMETHEUS = """
global: {{scrape_interval: 2s}}
scrape_configs:
  - job_name: meshwright
    http_sd_configs:
      - url: http://127.0.0.1:15080/api/v1/prometheus/targets
        refresh_interval: 2s
        authorization: {{type: Bearer, credentials_file: {state}/prometheus.token}}
"""


def join(hosts: Hosts, host: str, name: str) -> None:
    """Start an app and its agent on a host, as in docs/machines.md."""
    token = hosts.folder / f"{name}.token"
    completed = hosts.mesh("token", "create", "--service", name, "--out", str(token))
    assert completed.returncode == 0, completed.stderr
    hosts.start(host, sys.executable, "-m", "tests.fakes.app", "--port", "8000", "--name", name)
    options = ("--service", name, "--instance", f"{name}-1", "--port", "8000", "--health", "/health/ready")
    addresses = ("--control-plane", hosts.network.addresses[HUB], "--advertise", "auto")
    hosts.start(
        host,
        sys.executable,
        "-m",
        "meshwright.cli",
        "agent",
        *options,
        "--token-file",
        str(token),
        *addresses,
    )


def start_hub(hosts: Hosts, argv: Sequence[str]) -> None:
    """Start `mesh up` on the hub and wait until it is ready."""
    process = hosts.start(HUB, *argv)
    log = hosts.folder / f"{HUB}.log"

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        return "\nready in " in log.read_text()

    until(ready, "mesh up", 120)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("hosts")
    running = Hosts(Network((HUB, LEFT, RIGHT)), folder)
    file = folder / "application.yaml"
    with file.open("w") as out:
        YAML(typ="safe").dump(application([service("home")], 8080), out)
    running.network.create()
    try:
        start_hub(
            running, [sys.executable, "-m", "meshwright.cli", "up", "-f", str(file), "--timeout", "100"]
        )
        join(running, LEFT, "front")
        join(running, RIGHT, "back")
        expected = {"front-1", "back-1", "home-1", "ingress"}
        until(
            lambda: {name for name, state in running.proxies().items() if state == "synced"} == expected,
            "all sidecars are synced",
            90,
            1.0,
        )
        yield running
    finally:
        running.stop()
        running.network.delete()


def test_calls_between_hosts_use_mutual_tls(hosts: Hosts) -> None:
    response = until(lambda: hosts.fetch(LEFT, "http://back/echo"), "front reaches back", 90, 0.5)
    sent = json.loads(response)["headers"]
    assert sent["x-forwarded-client-cert"].endswith("URI=spiffe://mesh.local/service/front")
    back = until(lambda: hosts.fetch(RIGHT, "http://front/echo"), "back reaches front", 90, 0.5)
    assert json.loads(back)["name"] == "front"


OUTSIDE = """
apiVersion: meshwright.io/v1
kind: ExternalService
metadata: {{name: near-the-hub}}
spec:
  hosts: [only.the.hub.example]
  ports: [{{port: 80, targetPort: {port}}}]
  endpoints: [{{address: 127.0.0.1}}]
  via: {{name: ingress}}
"""


def test_calls_leave_the_mesh_from_the_host_of_the_gateway(hosts: Hosts) -> None:
    """The host outside is the app of the hub's loopback, which no other host reaches."""
    (home,) = (item for item in fetch_status(hosts.folder / HUB).workloads if item.name == "home-1")
    file = hosts.folder / "outside.yaml"
    file.write_text(OUTSIDE.format(port=home.ports["app.http"]))
    applied = hosts.mesh("apply", "-f", str(file), "--wait")
    assert applied.returncode == 0, applied.stderr
    url = "http://only.the.hub.example/echo"
    response = until(lambda: hosts.fetch(LEFT, url), "front reaches the host outside", 90, 0.5)
    assert json.loads(response)["name"] == "home-1"
    assert "x-forwarded-client-cert" not in json.loads(response)["headers"]


def test_only_documented_ports_are_open(hosts: Hosts) -> None:
    for host, expected in OPEN.items():
        ports = {port for port in hosts.listening_ports(host) if not 20_000 <= port < 32_000}
        assert ports == expected, host


def test_prometheus_scrapes_all_hosts(hosts: Hosts) -> None:
    config = hosts.folder / "prometheus.yml"
    config.write_text(PROMETHEUS.format(state=hosts.folder / HUB))
    data = f"--storage.tsdb.path={hosts.folder / 'tsdb'}"
    address = "--web.listen-address=127.0.0.1:9090"
    hosts.start(HUB, "/usr/bin/prometheus", f"--config.file={config}", data, address)
    up = 'count by (instance) (up{job="meshwright-proxy"} == 1)'
    expected = {"front-1", "back-1", "home-1", "ingress"}
    until(
        lambda: {series["metric"]["instance"] for series in hosts.query(up)} == expected,
        "all proxies are scraped",
        60,
        1.0,
    )


def test_mesh_recovers_after_a_host_was_disconnected(hosts: Hosts) -> None:
    until(lambda: hosts.fetch(RIGHT, "http://back/echo"), "a call within the host", 90, 0.5)
    hosts.network.disconnect(RIGHT)
    try:
        until(
            lambda: not hosts.fetch(LEFT, "http://back/echo"), "calls to the disconnected host fail", 30, 0.5
        )
        until(lambda: healthy(hosts, "back") == 0, "the lease of back expires", 60, 1.0)
        local = until(
            lambda: hosts.fetch(RIGHT, "http://back/echo"), "calls within the host succeed", 30, 0.5
        )
        assert json.loads(local)["name"] == "back"
    finally:
        hosts.network.reconnect(RIGHT)
    until(lambda: hosts.fetch(LEFT, "http://back/echo"), "calls to the host succeed again", 60, 0.5)
    until(lambda: hosts.proxies().get("back-1") == "synced", "its sidecar is synced again", 60, 1.0)
    until(lambda: healthy(hosts, "back") == 1, "its lease is back", 60, 1.0)


def healthy(hosts: Hosts, name: str) -> int | None:
    """The number of healthy instances of a service; None while the control plane does not respond."""
    status = hosts.status()
    if not status:
        return None
    return sum(int(entry["healthy"]) for entry in status["services"] if entry["name"] == name)
