"""Two hosts and a third with the control plane and Prometheus: one mesh over cables that may be cut."""

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

from tests.deploy.network import Network
from tests.envoy.harness import ROOT, application, service, until

pytestmark = pytest.mark.timeout(300)

HUB, LEFT, RIGHT = "hub", "left", "right"

OPEN = {HUB: {15011, 15012, 4317, 8080}, LEFT: {15006, 15020}, RIGHT: {15006, 15020}}
"""The documented ports; the hub's own sidecars have theirs between 20000 and 32000."""

ASK = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": "http://127.0.0.1:15001"}))
print(opener.open(sys.argv[1], timeout=10).read().decode())
"""


@dataclass
class Hosts:
    """What runs where; everything is stopped by its pid."""

    network: Network
    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, host: str) -> dict[str, str]:
        """The settings of a host: those of the page on machines, and nothing of this machine's own."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("MESH_") and not name.lower().endswith("_proxy")
        }
        values = {"MESH_STATE": str(self.folder / host), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        if host == HUB:
            values |= dict.fromkeys(("MESH_BIND", "MESH_ADVERTISE"), self.network.addresses[HUB])
        return {**clean, **values}

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
        """Run a program on a host to its end."""
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
        """A verb of `mesh` at the control plane's host."""
        return self.run(HUB, sys.executable, "-m", "meshwright.cli", *arguments)

    def status(self) -> dict[str, Any]:
        """The mesh as its control plane sees it; nothing while it does not answer."""
        done = self.mesh("status", "-o", "json")
        result: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return result

    def proxies(self) -> dict[str, str]:
        """The states of the proxies."""
        return {item["name"]: item["state"] for item in self.status().get("proxies", ())}

    def ask(self, host: str, url: str) -> str:
        """What an app of a host is answered; empty when it fails."""
        done = self.run(host, sys.executable, "-c", ASK, url)
        return done.stdout if done.returncode == 0 else ""

    def query(self, expr: str) -> list[dict[str, Any]]:
        """What Prometheus at the hub answers; nothing until it does."""
        url = f"http://127.0.0.1:9090/api/v1/query?query={urllib.parse.quote(expr)}"
        done = self.run(HUB, "/usr/bin/curl", "-sS", "--fail", "--max-time", "10", url)
        values: list[dict[str, Any]] = json.loads(done.stdout)["data"]["result"] if done.stdout else []
        return values

    def listening(self, host: str) -> set[int]:
        """The ports that are open beyond loopback."""
        done = self.run(host, "ss", "-Hltn")
        assert done.returncode == 0, done.stderr
        matches = (re.fullmatch(r"(.*):(\d+)", line.split()[3]) for line in done.stdout.splitlines())
        return {int(match[2]) for match in matches if match and not re.match(r"127\.|\[::1\]", match[1])}

    def stop(self) -> None:
        """Stop all, the youngest first."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.running):
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


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
    """An app on a host, and its agent, as the page on machines says."""
    token = hosts.folder / f"{name}.token"
    completed = hosts.mesh("token", "create", "--service", name, "--out", str(token))
    assert completed.returncode == 0, completed.stderr
    hosts.start(host, sys.executable, "-m", "tests.fakes.app", "--port", "8000", "--name", name)
    who = ("--service", name, "--instance", f"{name}-1", "--port", "8000", "--health", "/health/ready")
    where = ("--control-plane", hosts.network.addresses[HUB], "--advertise", "auto")
    hosts.start(
        host, sys.executable, "-m", "meshwright.cli", "agent", *who, "--token-file", str(token), *where
    )


def hub(hosts: Hosts, argv: Sequence[str]) -> None:
    """The control plane's host, ready."""
    process = hosts.start(HUB, *argv)
    log = hosts.folder / f"{HUB}.log"

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        return "\nready in " in log.read_text()

    until(ready, "mesh up", 120)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("hosts")
    actual_hosts = Hosts(Network((HUB, LEFT, RIGHT)), folder)
    file = folder / "application.yaml"
    with file.open("w") as out:
        YAML(typ="safe").dump(application([service("home")], 8080), out)
    actual_hosts.network.plug()
    try:
        hub(actual_hosts, [sys.executable, "-m", "meshwright.cli", "up", "-f", str(file), "--timeout", "100"])
        join(actual_hosts, LEFT, "front")
        join(actual_hosts, RIGHT, "back")
        expected = {"front-1", "back-1", "home-1", "ingress"}
        until(
            lambda: {name for name, state in actual_hosts.proxies().items() if state == "synced"} == expected,
            "one mesh",
            90,
            1.0,
        )
        yield actual_hosts
    finally:
        actual_hosts.stop()
        actual_hosts.network.unplug()


def test_calls_cross_the_cable_under_mutual_tls(hosts: Hosts) -> None:
    response = until(lambda: hosts.ask(LEFT, "http://back/echo"), "front reaches back", 30, 0.5)
    sent = json.loads(response)["headers"]
    assert sent["x-forwarded-client-cert"].endswith("URI=spiffe://mesh.local/service/front")
    back = until(lambda: hosts.ask(RIGHT, "http://front/echo"), "back reaches front", 30, 0.5)
    assert json.loads(back)["name"] == "front"


def test_nothing_but_the_documented_ports_is_open(hosts: Hosts) -> None:
    for host, expected in OPEN.items():
        numbers = {port for port in hosts.listening(host) if not 20_000 <= port < 32_000}
        assert numbers == expected, host


def test_prometheus_scrapes_all_hosts(hosts: Hosts) -> None:
    config = hosts.folder / "prometheus.yml"
    config.write_text(PROMETHEUS.format(state=hosts.folder / HUB))
    data = f"--storage.tsdb.path={hosts.folder / 'tsdb'}"
    at = "--web.listen-address=127.0.0.1:9090"
    hosts.start(HUB, "/usr/bin/prometheus", f"--config.file={config}", data, at)
    up = 'count by (instance) (up{job="meshwright-proxy"} == 1)'
    expected = {"front-1", "back-1", "home-1", "ingress"}
    until(
        lambda: {item["metric"]["instance"] for item in hosts.query(up)} == expected,
        "all are scraped",
        60,
        1.0,
    )


def test_a_cut_cable_heals(hosts: Hosts) -> None:
    until(lambda: hosts.ask(RIGHT, "http://back/echo"), "a call that does not leave its host", 30, 0.5)
    hosts.network.cut(RIGHT)
    try:
        until(lambda: not hosts.ask(LEFT, "http://back/echo"), "calls across it fail", 30, 0.5)
        until(lambda: healthy(hosts, "back") == 0, "the lease of back ends", 60, 1.0)
        inside = until(lambda: hosts.ask(RIGHT, "http://back/echo"), "inside a host it goes on", 30, 0.5)
        assert json.loads(inside)["name"] == "back"
    finally:
        hosts.network.mend(RIGHT)
    until(lambda: hosts.ask(LEFT, "http://back/echo"), "calls go across it again", 60, 0.5)
    until(lambda: hosts.proxies().get("back-1") == "synced", "its sidecar follows again", 60, 1.0)
    until(lambda: healthy(hosts, "back") == 1, "its lease is there again", 60, 1.0)


def healthy(hosts: Hosts, name: str) -> int | None:
    """Healthy instances of a service; None while the control plane does not answer."""
    status = hosts.status()
    return (
        sum(
            int(current_service["healthy"])
            for current_service in status["services"]
            if current_service["name"] == name
        )
        if status
        else None
    )
