"""What a running mesh consists of: a table of services, and URLs to try."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable
from itertools import islice

from cli import console
from cli.connection import ask
from cli.launch import Plan
from control_plane.api import operations
from sidecar.status import WorkloadStatus

URLS, LOOKED_AT = 6, 20
"""URLs that are shown, and tried, at most."""

PATIENCE = 1.0
"""Seconds that a URL may take to be worth showing."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def overview(plan: Plan, workloads: Iterable[WorkloadStatus], stop: str) -> None:
    """Print service, address of the app, address of the sidecar and state of each workload, then URLs.

    `stop` says what stops the mesh.
    """
    bind = plan.settings.bind
    rows = []
    for one in workloads:
        apps = [f"127.0.0.1:{port}" for name, port in one.ports.items() if name.startswith("app.")]
        sidecar = [
            f"{bind}:{port}"
            for name, port in one.ports.items()
            if name == "inbound" or name.startswith("gateway.")
        ]
        state = console.state("good", "healthy") if one.healthy else console.state("partial", one.phase)
        rows.append([one.name, ", ".join(apps) or "-", ", ".join(sidecar), state])
    console.table(["SERVICE", "ADDRESS", "SIDECAR", "STATE"], rows)
    urls = [url for url in islice(_urls(plan), LOOKED_AT) if _answers(url)]
    if urls:
        console.emit("\ntry")
        for url in urls[:URLS]:
            console.emit(f"  curl {url}")
    console.emit(f"\n`mesh status` shows how it is, {stop} stops everything")


def _answers(url: str) -> bool:
    """Whether GET gives something: the prefix of a route need not be a page."""
    try:
        with _DIRECT.open(url, timeout=PATIENCE):
            return True
    except (OSError, ValueError):
        return False


def _urls(plan: Plan) -> Iterable[str]:
    """An address for each path that a route lets GET through a gateway."""
    ports = {one.name: one.port for one in plan.application.spec.gateways}
    host = "127.0.0.1" if plan.settings.bind in ("0.0.0.0", "::") else plan.settings.bind
    for document in ask(operations.policies("HTTPRoute"), plan.settings.state)["documents"]:
        spec = document["spec"]
        gateways = [
            one["name"] for one in spec.get("parentRefs", ()) if one.get("kind", "Gateway") == "Gateway"
        ]
        paths = [
            match["path"]["value"]
            for rule in spec.get("rules", ())
            for match in rule.get("matches", ())
            if match.get("method", "GET") == "GET"
            and match.get("path", {}).get("type") != "RegularExpression"
            if "path" in match and "value" in match["path"]
        ]
        yield from (
            f"http://{host}:{ports[name]}{path}" for name in gateways if name in ports for path in paths
        )
