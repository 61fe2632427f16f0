"""`mesh proxy NAME config|stats`: what one Envoy of this host runs with, asked over its admin socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli import console
from cli.connection import ask
from cli.failing import VerbError
from cli.options import Output, StateOption
from control_plane.api import discovery, failures, operations
from control_plane.api.spiffe import valid_name
from control_plane.api.state import socket_path
from control_plane.errors import InputError, MeshError, NotFoundError

TIMEOUT = 10.0
"""Seconds that Envoy may take: a dump of a thousand clusters takes a tenth of one."""

HIDDEN = "[hidden]"


class View(StrEnum):
    """What there is to see of a proxy."""

    config = "config"
    stats = "stats"


class Section(StrEnum):
    """A part of the configuration."""

    listeners = "listeners"
    clusters = "clusters"
    routes = "routes"
    endpoints = "endpoints"


class Format(StrEnum):
    """How a configuration is printed."""

    yaml = "yaml"
    json = "json"


_DUMPS = {
    Section.listeners: "ListenersConfigDump",
    Section.clusters: "ClustersConfigDump",
    Section.routes: "RoutesConfigDump",
    Section.endpoints: "EndpointsConfigDump",
}


def proxy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The proxy, as `mesh proxies` names it.")],
    view: Annotated[View, typer.Argument(help="config, or stats as plain text.")],
    section: Annotated[Section | None, typer.Argument(help="A part of config; all when left out.")] = None,
    *,
    pattern: Annotated[
        str, typer.Option("--filter", metavar="REGEX", help="Only statistics that match this.")
    ] = "",
    output: Annotated[Format, typer.Option("--output", "-o", help="yaml or json, for config.")] = Format.yaml,
    state: StateOption = None,
) -> None:
    """Show the configuration that an Envoy of this host runs with now, or its statistics.

    Envoy is asked itself, so this works only on the host where it runs. Private keys are never shown.

    \b
    Example:
      mesh proxy orders-1 config
      mesh proxy orders-1 config clusters -o json
      mesh proxy orders-1 stats --filter upstream_rq_5xx
    """
    if view is View.stats and section is not None:
        raise InputError(f"stats have no section {section}: use --filter")
    if view is View.config and pattern:
        raise InputError("--filter is for stats: name a section of config instead")
    if view is View.stats:
        path = "/stats?usedonly" + (f"&filter={quote(pattern, safe='')}" if pattern else "")
        console.emit(_admin(name, path, state))
        return
    dump = json.loads(_admin(name, "/config_dump?include_eds", state))
    console.data(without_keys({"configs": list(_configs(dump, section))}), Output(output.value))


def _configs(dump: dict[str, Any], section: Section | None) -> Iterator[Any]:
    for config in dump.get("configs", ()):
        if section is None or str(config.get("@type", "")).endswith(f".{_DUMPS[section]}"):
            yield config


def without_keys(value: Any) -> Any:
    """The same without private keys, whatever Envoy itself lets out."""
    if isinstance(value, dict):
        return {key: HIDDEN if key == "private_key" else without_keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_keys(inner) for inner in value]
    return HIDDEN if isinstance(value, str) and "PRIVATE KEY-----" in value else value


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


def _admin(name: str, path: str, state: Path | None) -> str:
    """Envoy's answer; raises NotFoundError, VerbError."""
    folder = _folder(name, state)
    if folder is None:
        raise _elsewhere(name, state)
    connection = _Unix(socket_path(folder, "admin.sock"))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        why = failures.reason(error)
        words = f"{name}: its Envoy does not answer ({why}): see `mesh proxies`"
        raise VerbError(failures.FAILED, words) from None
    finally:
        connection.close()
    if answer.status != 200:
        raise InputError(f"{name}: Envoy says: {text.strip()[:500]}")
    return text


def _folder(name: str, state: Path | None) -> Path | None:
    """The proxy's working directory: of the mesh's own agent, or of one that joined by `mesh run`."""
    if not valid_name(name):
        return None
    root = discovery.state_folder(os.environ, state)
    places = (root / "sidecars" / name, root / "instances" / name / "sidecars" / name)
    return next((place for place in places if place.is_dir()), None)


def _elsewhere(name: str, state: Path | None) -> MeshError:
    """Why there is no such proxy here."""
    known = {one["name"] for one in ask(operations.proxies(), state)["proxies"]}
    if name in known:
        words = f"{name} runs on another host: ask it there, by `mesh proxy` with its agent's --state"
        return VerbError(failures.FAILED, words)
    return NotFoundError(f"no such proxy: {name[:100]}: see `mesh proxies`")
