"""What `mesh up` prints once the mesh is ready: its services, and URLs to try."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from meshwright.cli.http import call_api, responds
from meshwright.cli.launcher import LaunchPlan
from meshwright.cli.output import echo, print_table, sanitize, status_text
from meshwright.cli.python_module import mesh_command
from meshwright.cli.traffic.plan import DEMO_SERVICES
from meshwright.control_plane.api import calls
from meshwright.sidecar.status import WorkloadStatus

MAX_URLS, MAX_PROBES = 6, 20
"""Maximum URLs that are shown, and that are tried."""

PROBE_TIMEOUT = 1.0
"""Seconds in which a URL must respond to be shown."""


def print_startup_summary(plan: LaunchPlan, workloads: Iterable[WorkloadStatus], stop: str) -> None:
    """Print the addresses and the state of each workload, then URLs. `stop`: how to stop the mesh."""
    rows = [_row(workload, plan.settings.bind) for workload in workloads]
    print_table(["SERVICE", "ADDRESS", "SIDECAR", "STATE"], rows)
    # The path prefix of a route need not be a page.
    urls = [url for url in islice(_route_urls(plan), MAX_PROBES) if responds(url, PROBE_TIMEOUT)]
    if urls:
        echo("\ntry")
        for url in urls[:MAX_URLS]:
            echo(sanitize(f"  curl {url}"))
    mesh = mesh_command()
    if hints := demo_hints(plan, mesh):
        echo("\nnext")
        for hint in hints:
            echo(f"  {hint}")
    echo(f"\nRun `{mesh} status` to see its state; {stop} to stop the mesh")


def demo_hints(plan: LaunchPlan, mesh: str) -> list[str]:
    """What to do with the demo: its page, traffic, the dashboard, the tour. None for another application."""
    services = {instance.entry.name for instance in plan.applied.instances}
    if not services >= DEMO_SERVICES:
        return []
    pages = plan.gateways[:1] if "storefront" in services else ()
    return [
        *(f"open http://{_host(plan)}:{gateway.port}/ in a browser: the shop's page" for gateway in pages),
        f"{mesh} demo --traffic 5    people sign up, browse, order and pay",
        f"{mesh} dash                what the mesh sees of it",
        f"{mesh} demo --story        a tour of five minutes: what breaks, and what the mesh does",
    ]


def _host(plan: LaunchPlan) -> str:
    """Where this host reaches the gateways."""
    return "127.0.0.1" if plan.settings.bind in ("0.0.0.0", "::") else plan.settings.bind


def _row(workload: WorkloadStatus, bind: str) -> list[str]:
    apps = [f"127.0.0.1:{port}" for name, port in workload.ports.items() if name.startswith("app.")]
    sidecar = [
        f"{bind}:{port}"
        for name, port in workload.ports.items()
        if name == "inbound" or name.startswith("gateway.")
    ]
    state = status_text("good", "healthy") if workload.healthy else status_text("partial", workload.phase)
    return [workload.name, ", ".join(apps) or "-", ", ".join(sidecar), state]


def _route_urls(plan: LaunchPlan) -> Iterator[str]:
    """A URL for each path on which a route accepts GET through a gateway."""
    ports = {gateway.name: gateway.port for gateway in plan.gateways}
    host = _host(plan)
    for document in call_api(calls.policies("HTTPRoute"), plan.settings.state)["documents"]:
        spec = document["spec"]
        gateways = [
            ref["name"] for ref in spec.get("parentRefs", ()) if ref.get("kind", "Gateway") == "Gateway"
        ]
        for name in gateways:
            if name in ports:
                yield from (f"http://{host}:{ports[name]}{path}" for path in _get_paths(spec))


def _get_paths(spec: Mapping[str, Any]) -> Iterator[str]:
    """The paths of the matches that accept GET and are not regular expressions."""
    for rule in spec.get("rules", ()):
        for match in rule.get("matches", ()):
            path = match.get("path", {})
            is_literal = "value" in path and path.get("type") != "RegularExpression"
            if is_literal and match.get("method", "GET") == "GET":
                yield path["value"]
