"""An Envoy on this host over its admin socket, for when no control plane can relay the request."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from meshwright.cli.errors import CommandError
from meshwright.cli.http import UnixHTTPConnection
from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.private_files import check_folder
from meshwright.control_plane.api.spiffe import valid_name
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.command_args import parse_config_args
from meshwright.sidecar.command_results import config_json, parse_stats

ENVOY_TIMEOUT = 10.0
"""Seconds that Envoy has to respond."""


def proxy_folder(name: str, state: Path | None) -> Path | None:
    """The working directory of a proxy on this host: one of `mesh up`, or one that joined by itself.

    `name` is `NAME` or `SERVICE/NAME`; names are unique within a host's state directory.
    """
    name = name.rpartition("/")[2]
    if not valid_name(name):
        return None
    root = mesh_locator.state_dir(os.environ, state)
    candidates = (root / "sidecars" / name, root / "instances" / name / "sidecars" / name)
    return next((folder for folder in candidates if folder.is_dir()), None)


def stats(name: str, folder: Path, pattern: str) -> Any:
    """The JSON of a ProxyStats; raises InputError or CommandError."""
    text = _get(name, folder, f"/stats?usedonly&filter={quote(pattern, safe='')}")
    return parse_stats(name, text).model_dump()


def config(name: str, folder: Path, section: str) -> Any:
    """The JSON of a ProxyConfig; raises InputError or CommandError."""
    section_type = parse_config_args(section)
    dump, clusters = (_get(name, folder, path) for path in ("/config_dump", "/clusters?format=json"))
    return json.loads(config_json(name, dump, clusters, section_type))


def _get(name: str, folder: Path, path: str) -> str:
    """Envoy's response; raises InputError if Envoy rejects the request, CommandError if it is unreachable."""
    socket = socket_path(folder, "admin.sock")
    check_folder(socket.parent)
    connection = UnixHTTPConnection(socket, ENVOY_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        reason = errors.os_error_text(error)
        raise CommandError(errors.FAILED, f"{name}: its Envoy is not reachable ({reason})") from None
    finally:
        connection.close()
    if response.status != 200:
        raise InputError(f"{name}: Envoy: {text.strip()[:500]}")
    return text
