"""What a test sees of a running mesh from outside: steady load, Envoy's own numbers, the control plane's."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from meshwright.control_plane.api.state_dir import MeshAddresses, socket_path
from tests.envoy.harness import Mesh, until

PACE = "function delay() return math.random(5, 25) end\n"
"""wrk's pause between two requests of a connection, in ms: steady load that leaves the machine its breath."""


@dataclass
class Load:
    """What wrk counted; filled when the load has ended."""

    requests: int = 0
    bad: int = 0
    report: str = ""


@contextmanager
def load(folder: Path, url: str, *headers: str, connections: int = 4) -> Iterator[Load]:
    """Steady requests to `url` on kept connections until the block ends; begun when the block begins."""
    script = folder / "pace.lua"
    script.write_text(PACE)
    extra = [word for header in headers for word in ("-H", header)]
    process = subprocess.Popen(
        [
            shutil.which("wrk") or "wrk",
            "-t1",
            f"-c{connections}",
            "-d600s",
            "--timeout",
            "20s",
            "-s",
            str(script),
            *extra,
            url,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    actual_load = Load()
    try:
        yield actual_load
        assert process.poll() is None, "the load ended before its time"
        process.send_signal(signal.SIGINT)
        actual_load.report, _ = process.communicate(timeout=30)
        _read(actual_load)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _read(actual_load: Load) -> None:
    total = re.search(r"(\d+) requests in", actual_load.report)
    assert total, actual_load.report
    actual_load.requests = int(total[1])
    if match := re.search(r"Non-2xx or 3xx responses: (\d+)", actual_load.report):
        actual_load.bad += int(match[1])
    if errors := re.search(r"Socket errors: (.*)", actual_load.report):
        actual_load.bad += sum(map(int, re.findall(r"\d+", errors[1])))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


def envoy(mesh: Mesh, name: str, path: str) -> str:
    """What the Envoy of a workload answers on its admin socket."""
    connection = _UnixConnection(socket_path(mesh.state / "sidecars" / name, "admin.sock"))
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def stats(mesh: Mesh, name: str, pattern: str) -> dict[str, int]:
    """Envoy's counters and gauges whose names match."""
    lines = (line.rpartition(": ") for line in envoy(mesh, name, f"/stats?filter={pattern}").splitlines())
    return {key: int(value) for key, _, value in lines if value.isdigit()}


def config_dump(mesh: Mesh, name: str) -> dict[str, Any]:
    """Envoy's whole configuration."""
    document: dict[str, Any] = json.loads(envoy(mesh, name, "/config_dump?include_eds"))
    return document


def addresses(mesh: Mesh) -> MeshAddresses:
    """Where the control plane answers."""
    return MeshAddresses.model_validate_json((mesh.state / "mesh.json").read_bytes())


def api(mesh: Mesh, path: str) -> requests.Response:
    """GET of the admin API with its token; quicker than a run of the command line."""
    token = (mesh.state / "admin.token").read_text().strip()
    with requests.Session() as session:
        session.trust_env = False
        return session.get(
            addresses(mesh).admin + path, headers={"authorization": f"Bearer {token}"}, timeout=10
        )


def metrics(mesh: Mesh) -> dict[str, float]:
    """The control plane's metrics by `name{label="value"}`."""
    text = api(mesh, "/metrics").text
    return {
        sample.name + (json.dumps(sample.labels, sort_keys=True) if sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def states(mesh: Mesh) -> dict[str, str]:
    """The state of each sidecar by its name; empty while the control plane does not answer."""
    try:
        return {proxy["name"]: proxy["state"] for proxy in api(mesh, "/api/v1/status").json()["proxies"]}
    except (requests.RequestException, OSError, KeyError):
        return {}


def settled(mesh: Mesh, names: set[str]) -> None:
    """Wait until each of these sidecars is connected and has all its configuration."""
    until(lambda: states(mesh) == dict.fromkeys(names, "synced"), f"{names} synced, but {states(mesh)}", 30)
