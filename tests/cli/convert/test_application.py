"""The application file of `mesh convert` runs: its services, gateways and certificates, and calls outside."""

from __future__ import annotations

import re
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from tests.cli.convert.test_proved import EXAMPLE
from tests.envoy.harness import ROOT, Mesh, running_application, settings, until
from tests.fakes.http_server import running_http_server
from tests.fakes.mesh_command import run_mesh
from tests.fakes.ports import free_port

OUTSIDE = "127.0.0.32"
"""An address that no sidecar listens on."""


def write_command(file: Path) -> None:
    """What a reader does with a converted service: its command."""
    file.write_text(f"#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m tests.fakes.app\n")
    file.chmod(0o755)


def convert(folder: Path) -> dict[str, int]:
    """Write policies and application, with free ports; they are returned by those of the example."""
    environment = settings(folder / "state")
    arguments = ("-o", str(folder / "policies"), "--application", str(folder / "application.yaml"))
    done = run_mesh(("convert", "istio", "kubernetes.yaml", *arguments, "--strict"), environment, EXAMPLE)
    assert done.returncode == 0, done.stderr
    done = run_mesh(("cert", "self-signed", "wares-cert", "--host", "wares.example"), environment, folder)
    assert done.returncode == 0, done.stderr
    file = folder / "application.yaml"
    ports = {number: free_port() for number in ("8080", "8443", "8081", "8082", "8083")}
    file.write_text(re.sub(r"\b80\d\d\b|8443", lambda match: str(ports[match[0]]), file.read_text()))
    return ports


def https_status(folder: Path, port: int) -> str:
    url = f"https://wares.example:{port}/exact"
    resolve = f"wares.example:{port}:127.0.0.1"
    ca = folder / "state" / "certificates" / "wares-cert.crt"
    argv = ["curl", "-sS", "--noproxy", "*", "--cacert", str(ca), "--resolve", resolve, "-o", "/dev/null"]
    argv += ["-w", "%{http_code}", url]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30).stdout


def serves(mesh: Mesh, host: str, path: str) -> str:
    """The instance that responds to a request from outside."""
    response = mesh.outside(path, headers={"host": host})
    return str(response.json()["name"]) if response.ok else f"status {response.status_code}"


def test_converted_application_runs(tmp_path: Path) -> None:
    ports = convert(tmp_path)
    for name in ("wares", "relics"):
        write_command(tmp_path / name)
    with (
        running_http_server(SimpleHTTPRequestHandler, address=OUTSIDE) as outside,
        running_application(tmp_path / "application.yaml", ports["8080"]) as mesh,
    ):
        until(lambda: serves(mesh, "wares.example", "/exact") == "wares-1", "the path of an Ingress")
        until(lambda: serves(mesh, "other.example", "/") == "relics-1", "the default backend")
        until(lambda: https_status(tmp_path, ports["8443"]) == "200", "HTTPS by the Ingress's secret")
        refused = mesh.get("wares-1", f"http://{OUTSIDE}:{outside}/")
        assert (refused.status_code, "outbound: deny" in refused.text) == (403, True)
        assert mesh.get("relics-1", f"http://{OUTSIDE}:{outside}/").status_code == 200
