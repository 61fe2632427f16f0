"""What goes into a support bundle: documents of the mesh, of each proxy, and of this host."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from meshwright.cli.doctor.command import diagnose
from meshwright.cli.doctor.command import gather as gather_facts
from meshwright.cli.http import call_api
from meshwright.cli.version import versions_document
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.calls import ApiCall
from meshwright.control_plane.errors import MeshError
from meshwright.sidecar.files import tail

MAX_PROXIES = 40
"""Proxies whose configuration, statistics and logs are included, those that are not in order first."""

LOG_LINES, LOG_BYTES = 2000, 512 * 1024
"""The end of each log."""

OWN_LOGS = ("up", "store", "control-plane", "agent")
"""Logs of the mesh's own processes."""

PARALLEL_CALLS = 4
"""Agents that are read at once. A configuration dump has a megabyte."""

Entry = tuple[str, str]
"""The name of a file and its text."""

WHOLE_MESH: Mapping[str, Callable[[], ApiCall]] = {
    "status.json": calls.status,
    "topology.json": calls.topology,
    "services.json": calls.services,
    "instances.json": calls.instances,
    "proxies.json": calls.proxies,
    "policies.json": calls.policies,
    "history.json": lambda: calls.history(limit=100),
    "events.json": lambda: calls.events(limit=500),
    "failed-requests.json": lambda: calls.requests(errors=True, limit=100),
    "refusals.json": calls.refusals,
    "tokens.json": calls.tokens,
}
"""What the admin API shows of the whole mesh; it redacts the secrets of policies."""

EACH_PROXY: Mapping[str, Callable[[str], ApiCall]] = {
    "config.json": calls.proxy_config,
    "stats.json": calls.proxy_stats,
    "logs.json": lambda name: calls.proxy_logs(name, LOG_LINES),
}
"""What the agent of a proxy shows of it, without private keys."""


def mesh_entries(state: Path | None) -> Iterator[Entry]:
    """The documents of the mesh; in place of one that cannot be had, why."""
    for name, call in WHOLE_MESH.items():
        yield _fetched(f"mesh/{name}", call(), state)
    yield _made("mesh/versions.json", lambda: versions_document(state))


def proxy_entries(names: Sequence[str], state: Path | None) -> Iterator[Entry]:
    """The documents of these proxies (`service/name`), as they arrive."""
    requests = [
        (f"proxies/{proxy.replace('/', '.')}/{name}", call(proxy))
        for proxy in names
        for name, call in EACH_PROXY.items()
    ]
    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        remaining = iter(requests)
        # A few at a time: the results of all together would need more memory than the bundle.
        while batch := list(islice(remaining, PARALLEL_CALLS)):
            yield from pool.map(lambda item: _fetched(item[0], item[1], state), batch)


def proxies_to_include(state: Path | None) -> list[str]:
    """All proxies, those that are not in order first; none if the mesh does not answer."""
    try:
        proxies = call_api(calls.proxies(), state)["proxies"]
    except MeshError:
        return []
    ordered = sorted(proxies, key=lambda item: (item["state"] == "synced", item["service"], item["name"]))
    return [f"{item['service']}/{item['name']}" for item in ordered]


def host_entries(folder: Path, state: Path | None, *, every_log: bool) -> Iterator[Entry]:
    """This host: its system, what `mesh doctor` says, and the ends of logs.

    `every_log`: also those of apps and Envoys, which otherwise their agents are asked for.
    """
    yield _made("host/system.json", lambda: _system(folder))
    yield _made("host/doctor.json", lambda: [asdict(item) for item in diagnose(gather_facts(state))])
    for path in sorted((folder / "logs").glob("*.log")):
        if every_log or path.stem in OWN_LOGS:
            yield f"host/logs/{path.name}", tail(path, LOG_LINES, LOG_BYTES)


def _fetched(name: str, call: ApiCall, state: Path | None) -> Entry:
    return _made(name, lambda: call_api(call, state))


def _made(name: str, make: Callable[[], Any]) -> Entry:
    try:
        return name, json.dumps(make(), indent=1, ensure_ascii=False)
    except (MeshError, OSError, ValueError) as error:
        return f"{name}.error.txt", f"{error}\n"


def _system(folder: Path) -> dict[str, Any]:
    memory = psutil.virtual_memory()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "memory": {"total": memory.total, "available": memory.available},
        "open_files": {"soft": soft, "hard": hard},
        "settings": {name: text for name, text in sorted(os.environ.items()) if name.startswith("MESH_")},
        "state": {
            str(path.relative_to(folder)): path.lstat().st_size
            for path in islice(sorted(folder.rglob("*")), 2000)
            if path.is_file()
        },
    }
