"""An Envoy of this host, asked over its admin socket: for when no control plane can pass an ask on."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from meshwright.cli.errors import CommandError
from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.spiffe import valid_name
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.control_plane.errors import InputError
from meshwright.sidecar import command_args

ENVOY_TIMEOUT = 10.0
"""Seconds that Envoy may take."""


def proxy_folder(name: str, state: Path | None) -> Path | None:
    """The working directory of a proxy of this host: of the mesh's own agent, or of one that joined."""
    if not valid_name(name):
        return None
    root = mesh_locator.state_dir(os.environ, state)
    places = (root / "sidecars" / name, root / "instances" / name / "sidecars" / name)
    return next((place for place in places if place.is_dir()), None)


def stats(name: str, folder: Path, pattern: str) -> Any:
    """A ProxyStats as plain JSON; raises InputError, VerbError."""
    text = _get(name, folder, f"/stats?usedonly&filter={quote(pattern, safe='')}")
    return command_args.parse_stats(name, text).model_dump()


def config(name: str, folder: Path, section: str) -> Any:
    """A ProxyConfig as plain JSON; raises InputError, VerbError."""
    dump = _get(name, folder, "/config_dump?include_eds")
    return json.loads(command_args.config_json(name, dump, command_args.parse_config_args(section)))


class UnixHTTPConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=ENVOY_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _get(name: str, folder: Path, path: str) -> str:
    """Envoy's answer; raises InputError for what it refuses, VerbError when it does not answer."""
    connection = UnixHTTPConnection(socket_path(folder, "admin.sock"))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        why = errors.os_error_text(error)
        raise CommandError(errors.FAILED, f"{name}: its Envoy does not answer ({why})") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise InputError(f"{name}: Envoy says: {text.strip()[:500]}")
    return text
