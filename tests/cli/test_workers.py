"""A service without ports in the application file: it calls others, and nobody calls it."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from meshwright.cli.application import instances, read_application, workloads
from meshwright.control_plane.errors import InputError
from tests.cli.test_up import application_file, mesh_command, recorded, stopped_afterwards
from tests.envoy.harness import Mesh, running_mesh, service, settings, until

CALLS = """
import time, urllib.request

while True:
    try:
        print(urllib.request.urlopen("http://front/echo", timeout=30).status, flush=True)
    except OSError as error:
        print(error, flush=True)
    time.sleep(0.05)
"""

SILENT = "import time; time.sleep(600)"


def worker(code: str) -> dict[str, object]:
    """An entry of the application file for a process that listens nowhere."""
    return {"name": "worker", "command": [sys.executable, "-c", code], "ports": []}


def edges(mesh: Mesh) -> set[tuple[str, str]]:
    """Every edge of the service graph: caller and callee."""
    seen = json.loads(mesh.run("topology", "-o", "json").stdout)["edges"]
    return {(edge["from"], edge["to"]) for edge in seen}


def test_a_worker_calls_through_its_sidecar_and_is_restarted_and_scaled(tmp_path: Path) -> None:
    with running_mesh(tmp_path, [service("front"), worker(CALLS)]) as mesh:
        edge = ("worker", "front")
        until(lambda: edge in edges(mesh), "its calls are seen")
        assert "worker" not in str(mesh.status()["verdict"])
        mesh.run("scale", "worker=2")
        assert {"worker-1", "worker-2"} < recorded(mesh.state).keys()
        os.kill(mesh.pid("worker-1"), signal.SIGKILL)
        until(
            lambda: "worker-1: instance of worker was restarted" in mesh.run("events").stdout,
            "it is an event",
        )


def test_a_process_that_listens_nowhere_is_reported_with_what_to_write(tmp_path: Path) -> None:
    env = settings(tmp_path / "state")
    silent = {**worker(SILENT), "ports": [{"name": "http", "port": 0}]}
    file = application_file(tmp_path, [silent])
    with stopped_afterwards(env):
        done = mesh_command("up", "-f", str(file), "--timeout", "8s", env=env)
    assert done.returncode == 1
    assert "nothing listens on 127.0.0.1:" in done.stderr and "`ports: []`" in done.stderr
    assert "proxy.log" not in done.stderr


@pytest.mark.parametrize("setting", ["health: /up", "metrics: /metrics"])
@pytest.mark.parametrize("ports", ["[]", "[{name: rpc, port: 9000, protocol: grpc}]"])
def test_a_path_without_an_http_port_is_refused(tmp_path: Path, setting: str, ports: str) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(
        "apiVersion: meshwright.io/v1\nkind: Application\nmetadata: {name: shop}\nspec:\n"
        f"  services: [{{name: orders, command: [orders], {setting}, ports: {ports}}}]\n"
    )
    with pytest.raises(InputError, match=r"mesh\.yaml:5:\d+: .*first http port, but there is none"):
        read_application(file)


def test_a_service_without_a_word_about_ports_has_one(tmp_path: Path) -> None:
    file = application_file(tmp_path, [{"name": "orders", "command": ["orders"]}])
    spec = read_application(file).spec
    started = workloads(spec, instances(spec), tmp_path, tmp_path, {})
    ports = {item.name: [port.name for port in item.ports] for item in started}
    assert ports == {"ingress": [], "orders-1": ["http"]}
