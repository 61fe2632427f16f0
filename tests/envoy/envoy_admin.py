"""The admin interface of a workload's Envoy: statistics and configuration."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar.endpoints_dump import endpoints_dump
from tests.envoy.harness import Mesh


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def envoy(mesh: Mesh, name: str, path: str) -> str:
    """The response of the Envoy of a workload on its admin socket."""
    connection = _UnixConnection(socket_path(mesh.state / "sidecars" / name, "admin.sock"))
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def stats(mesh: Mesh, name: str, pattern: str) -> dict[str, int]:
    """Counters and gauges whose names match a pattern."""
    lines = (line.rpartition(": ") for line in envoy(mesh, name, f"/stats?filter={pattern}").splitlines())
    return {key: int(value) for key, _, value in lines if value.isdigit()}


def config_dump(mesh: Mesh, name: str) -> dict[str, Any]:
    """The complete configuration, with endpoints in the form in which commands show them."""
    document: dict[str, Any] = json.loads(envoy(mesh, name, "/config_dump"))
    document["configs"].append(endpoints_dump(json.loads(envoy(mesh, name, "/clusters?format=json"))))
    return document
