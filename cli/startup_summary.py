"""What a running mesh consists of: a table of services, and URLs to try."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable
from itertools import islice

from meshwright.cli import output
from meshwright.cli.http import call_api
from meshwright.cli.launcher import LaunchPlan
from meshwright.control_plane.api import calls
from meshwright.sidecar.status import WorkloadStatus

MAX_URLS, MAX_PROBES = 6, 20
"""URLs that are shown, and tried, at most."""

PROBE_TIMEOUT = 1.0
"""Seconds that a URL may take to be worth showing."""

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def print_startup_summary(plan: LaunchPlan, workloads: Iterable[WorkloadStatus], stop: str) -> None:
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
        state = (
            output.status_text("good", "healthy") if one.healthy else output.status_text("partial", one.phase)
        )
        rows.append([one.name, ", ".join(apps) or "-", ", ".join(sidecar), state])
    output.print_table(["SERVICE", "ADDRESS", "SIDECAR", "STATE"], rows)
    urls = [url for url in islice(_route_urls(plan), MAX_PROBES) if _responds(url)]
    if urls:
        output.echo("\ntry")
        for url in urls[:MAX_URLS]:
            output.echo(f"  curl {url}")
    output.echo(f"\n`mesh status` shows how it is, {stop} stops everything")


def _responds(url: str) -> bool:
    """Whether GET gives something: the prefix of a route need not be a page."""
    try:
        with _OPENER.open(url, timeout=PROBE_TIMEOUT):
            return True
    except (OSError, ValueError):
        return False


def _route_urls(plan: LaunchPlan) -> Iterable[str]:
    """An address for each path that a route lets GET through a gateway."""
    ports = {one.name: one.port for one in plan.application.spec.gateways}
    host = "127.0.0.1" if plan.settings.bind in ("0.0.0.0", "::") else plan.settings.bind
    for document in call_api(calls.policies("HTTPRoute"), plan.settings.state)["documents"]:
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
