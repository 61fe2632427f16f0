"""Finds resources in Envoy's configuration dump (envoy.admin.v3.ConfigDump as JSON). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

Json = Mapping[str, Any]
Row = dict[str, Any]
"""What a table says about a resource or a part of it, as JSON prints it: texts, numbers, lists of texts."""


class DumpEntry(NamedTuple):
    """A resource and how Envoy has it. `version` is empty for one of the bootstrap."""

    body: Json
    status: str
    version: str


_STATES = {
    "active_state": "active",
    "warming_state": "warming",
    "draining_state": "draining",
    "error_state": "rejected",
}
"""Fields of a dynamic listener: what Envoy has of it at the same time."""


def resources(configs: Iterable[Json], dump: str, field: str) -> Iterator[DumpEntry]:
    """The resources of a dump, such as ClustersConfigDump, whose entries have them in `field`.

    Static ones first. Lists of it are named static_*, dynamic_*, and dynamic_warming_*.
    """
    for config in configs:
        if not str(config.get("@type", "")).endswith(f".{dump}"):
            continue
        for key in sorted(config, key=lambda name: not name.startswith("static")):
            entries = config[key]
            if not isinstance(entries, list):
                continue
            status = "warming" if "_warming_" in key else "static" if key.startswith("static") else "active"
            for entry in entries:
                yield from _states_of(entry, field, status)


def _states_of(entry: Json, field: str, status: str) -> Iterator[DumpEntry]:
    if field in entry:
        yield DumpEntry(entry[field], status, entry.get("version_info", ""))
    for key, name in _STATES.items():
        state = entry.get(key, {})
        body = state.get(field) or (state.get("failed_configuration") if name == "rejected" else None)
        if body:
            yield DumpEntry(body, name, state.get("version_info", ""))


def address_text(address: Json) -> str:
    """An envoy.config.core.v3.Address: HOST:PORT, the path of a Unix socket, or an internal listener."""
    if socket := address.get("socket_address"):
        host = str(socket.get("address", ""))
        return f"[{host}]:{port_of(socket)}" if ":" in host else f"{host}:{port_of(socket)}"
    if pipe := address.get("pipe"):
        return str(pipe.get("path", ""))
    internal = address.get("envoy_internal_address", {})
    return str(internal.get("server_listener_name", ""))


def port_of(socket: Json) -> int:
    """The port of a SocketAddress."""
    return int(socket.get("port_value", 0))


def cluster_shares(action: Json) -> list[str]:
    """The clusters of a route or TCP proxy: one, or each with its share of the weights."""
    weighted = action.get("weighted_clusters", {}).get("clusters", ())
    if not weighted:
        return [str(action["cluster"])] if action.get("cluster") else []
    total = sum(int(item.get("weight", 0)) for item in weighted) or 1
    return [f"{item.get('name', '')} {100 * int(item.get('weight', 0)) / total:.3g}%" for item in weighted]
