"""Route for Prometheus' HTTP service discovery: control planes, proxies, agents and apps to scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from meshwright.control_plane.api.models.prometheus import ScrapeTargetGroup, ScrapeTargetList
from meshwright.control_plane.api.models.proxies import ProxyReport

PATH = "/prometheus/targets"

CONTROL_PLANE = "meshwright-control-plane"
PROXY = "meshwright-proxy"
AGENT = "meshwright-agent"
APP = "meshwright-app"
"""Values of the `job` label."""


class PrometheusSdRouter:
    """`/prometheus/targets`. `control_planes`: `host:port` of their admin APIs."""

    def __init__(
        self, control_planes: Callable[[], Iterable[str]], reports: Callable[[], Iterable[ProxyReport]]
    ) -> None:
        self._control_planes = control_planes
        self._reports = reports

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", PATH, "prometheus_targets", "Scrape targets for Prometheus", self.targets,
                ScrapeTargetList, read_only=True,
            ),
        )  # fmt: skip

    async def targets(self, _params: NoParams, _body: NoBody) -> ScrapeTargetList:
        """Scrape targets, in the format of Prometheus' HTTP service discovery."""
        return ScrapeTargetList(tuple(target_groups(self._control_planes(), self._reports())))


def target_groups(
    control_planes: Iterable[str], reports: Iterable[ProxyReport]
) -> Iterator[ScrapeTargetGroup]:
    """One group per control plane, and up to three per proxy.

    A proxy is listed while its agent reports it, so Prometheus stops scraping it soon after it is gone.
    """
    for address in sorted(control_planes):
        yield ScrapeTargetGroup(targets=(address,), labels={"job": CONTROL_PLANE})
    for report in sorted(reports, key=lambda report: (report.service, report.node)):
        if report.metrics:
            yield from _proxy_groups(report)


def _proxy_groups(report: ProxyReport) -> Iterator[ScrapeTargetGroup]:
    labels = {"service": report.service, "instance": report.node}
    paths = {PROXY: "/stats/prometheus", AGENT: "/agent/metrics"}
    if report.app_metrics:
        paths[APP] = "/app/metrics"
    for job, path in paths.items():
        scrape = {"__metrics_path__": path, **({"__param_usedonly": ""} if job == PROXY else {})}
        yield ScrapeTargetGroup(targets=(report.metrics,), labels={"job": job, **labels, **scrape})
