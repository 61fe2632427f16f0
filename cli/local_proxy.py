"""An Envoy of this host, asked over its admin socket: for when no control plane can pass an ask on."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cli.failing import VerbError
from control_plane.api import discovery, failures
from control_plane.api.spiffe import valid_name
from control_plane.api.state import socket_path
from control_plane.errors import InputError
from sidecar.asks import words

TIMEOUT = 10.0
"""Seconds that Envoy may take."""


def folder_of(name: str, state: Path | None) -> Path | None:
    """The working directory of a proxy of this host: of the mesh's own agent, or of one that joined."""
    if not valid_name(name):
        return None
    root = discovery.state_folder(os.environ, state)
    places = (root / "sidecars" / name, root / "instances" / name / "sidecars" / name)
    return next((place for place in places if place.is_dir()), None)


def stats(name: str, folder: Path, pattern: str) -> Any:
    """A ProxyStats as plain JSON; raises InputError, VerbError."""
    text = _get(name, folder, f"/stats?usedonly&filter={quote(pattern, safe='')}")
    return words.stats(name, text).model_dump()


def config(name: str, folder: Path, section: str) -> Any:
    """A ProxyConfig as plain JSON; raises InputError, VerbError."""
    dump = _get(name, folder, "/config_dump?include_eds")
    return json.loads(words.config(name, dump, words.section_asked(section)))


class _Unix(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _get(name: str, folder: Path, path: str) -> str:
    """Envoy's answer; raises InputError for what it refuses, VerbError when it does not answer."""
    connection = _Unix(socket_path(folder, "admin.sock"))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        why = failures.reason(error)
        raise VerbError(failures.FAILED, f"{name}: its Envoy does not answer ({why})") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise InputError(f"{name}: Envoy says: {text.strip()[:500]}")
    return text
