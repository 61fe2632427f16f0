"""The route by which Prometheus finds all there is to scrape: control planes, proxies, agents, apps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import NoParams, Route
from meshwright.control_plane.api.models.prometheus import ScrapeTargetGroup, ScrapeTargetList
from meshwright.control_plane.api.models.proxies import ProxyReport

PATH = "/prometheus/targets"

CONTROL_PLANE, PROXY, AGENT, APP = (
    *("meshwright-control-plane", "meshwright-proxy", "meshwright-agent", "meshwright-app"),
)
"""The jobs, as Prometheus labels what it scraped."""


def target_groups(planes: Iterable[str], reports: Iterable[ProxyReport]) -> Iterator[ScrapeTargetGroup]:
    """A group for each control plane (`planes`: `host:port` of its admin API), and up to three a proxy.

    A proxy is there as long as its agent reports it, so what is gone is not scraped for long.
    """
    for plane in sorted(planes):
        yield ScrapeTargetGroup(targets=(plane,), labels={"job": CONTROL_PLANE})
    for one in sorted(reports, key=lambda report: (report.service, report.node)):
        if one.metrics:
            yield from _of(one)


def _of(one: ProxyReport) -> Iterator[ScrapeTargetGroup]:
    named = {"service": one.service, "instance": one.node}
    paths = {PROXY: "/stats/prometheus", AGENT: "/agent/metrics"}
    if one.app_metrics:
        paths[APP] = "/app/metrics"
    for job, path in paths.items():
        how = {"__metrics_path__": path, **({"__param_usedonly": ""} if job == PROXY else {})}
        yield ScrapeTargetGroup(targets=(one.metrics,), labels={"job": job, **named, **how})


async def targets(mesh: AdminContext, _params: NoParams, _body: object) -> ScrapeTargetList:
    """What Prometheus scrapes, by its HTTP service discovery."""
    return ScrapeTargetList(tuple(target_groups(mesh.control_plane_addresses(), mesh.reports())))


ROUTES = (
    Route(
        "GET",
        PATH,
        "prometheus_targets",
        "What Prometheus scrapes",
        targets,
        ScrapeTargetList,
        read_only=True,
    ),
)
