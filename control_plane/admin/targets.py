"""The route by which Prometheus finds all there is to scrape: control planes, proxies, agents, apps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from control_plane.admin.mesh import Mesh
from control_plane.admin.routes import NoParams, Route
from control_plane.api.scraped import TargetGroup, TargetGroups
from control_plane.api.types import ProxyReport

PATH = "/prometheus/targets"

CONTROL_PLANE, PROXY, AGENT, APP = (
    *("meshwright-control-plane", "meshwright-proxy", "meshwright-agent", "meshwright-app"),
)
"""The jobs, as Prometheus labels what it scraped."""


def groups(planes: Iterable[str], reports: Iterable[ProxyReport]) -> Iterator[TargetGroup]:
    """A group for each control plane (`planes`: `host:port` of its admin API), and up to three a proxy.

    A proxy is there as long as its agent reports it, so what is gone is not scraped for long.
    """
    for plane in sorted(planes):
        yield TargetGroup(targets=(plane,), labels={"job": CONTROL_PLANE})
    for one in sorted(reports, key=lambda report: (report.service, report.node)):
        if one.metrics:
            yield from _of(one)


def _of(one: ProxyReport) -> Iterator[TargetGroup]:
    named = {"service": one.service, "instance": one.node}
    paths = {PROXY: "/stats/prometheus", AGENT: "/agent/metrics"}
    if one.app_metrics:
        paths[APP] = "/app/metrics"
    for job, path in paths.items():
        how = {"__metrics_path__": path, **({"__param_usedonly": ""} if job == PROXY else {})}
        yield TargetGroup(targets=(one.metrics,), labels={"job": job, **named, **how})


async def targets(mesh: Mesh, _params: NoParams, _body: object) -> TargetGroups:
    """What Prometheus scrapes, by its HTTP service discovery."""
    return TargetGroups(tuple(groups(mesh.planes(), mesh.reports())))


ROUTES = (
    Route("GET", PATH, "prometheus_targets", "What Prometheus scrapes", targets, TargetGroups, shows=True),
)
