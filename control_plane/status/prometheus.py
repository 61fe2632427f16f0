"""The mesh as metrics of the control plane, read when Prometheus asks. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meshwright.control_plane.api.models.base import (
    Breaker,
    ControlPlaneStatus,
    InstanceStatus,
    ProxyReport,
    ProxyStatus,
)

PROXY_STATES = ("synced", "pending", "rejected", "disconnected")
BREAKER_STATES = ("closed", "partial", "open")
HEALTHS = ("healthy", "unhealthy", "draining")


@dataclass(frozen=True, slots=True)
class MeshMetrics:
    """What there is to tell. `proxies` and `reports` are of those that this control plane serves."""

    revision: int = 0
    store_up: bool = True
    proxies: Iterable[ProxyStatus] = ()
    reports: Iterable[ProxyReport] = ()
    instances: tuple[InstanceStatus, ...] = ()
    breakers: tuple[Breaker, ...] = ()
    control_planes: tuple[ControlPlaneStatus, ...] = ()


class MeshCollector(Collector):
    """Asks for figures at each scrape. `expires` gives the ends of own certificates by name."""

    def __init__(self, ask: Callable[[], MeshMetrics], expires: Callable[[], Mapping[str, float]]) -> None:
        self._ask = ask
        self._expires = expires

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: the registry would ask before the mesh is there."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family, with the figures of this moment."""
        figures = self._ask()
        yield _one("mesh_revision", "The newest revision that is served.", figures.revision)
        yield _one("mesh_store_up", "Whether the store answers.", float(figures.store_up))
        silent = sum(one.state == "silent" for one in figures.control_planes)
        yield _one("mesh_planes_silent", "Other control planes that do not answer.", silent)
        yield _proxies(figures.proxies)
        yield _certificates(figures.reports)
        yield _instances(figures.instances)
        yield _breakers(figures.breakers)
        yield _own(self._expires())


def _one(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)


def _proxies(proxies: Iterable[ProxyStatus]) -> Metric:
    counted: Counter[str] = Counter(one.state for one in proxies)
    family = GaugeMetricFamily("mesh_proxies", "Proxies that follow this control plane.", labels=["state"])
    for state in PROXY_STATES:
        family.add_metric([state], counted[state])
    return family


def _certificates(reports: Iterable[ProxyReport]) -> Metric:
    words = "When a proxy's certificate ends, in seconds since the epoch."
    name = "mesh_proxy_certificate_expiry_timestamp_seconds"
    family = GaugeMetricFamily(name, words, labels=["service", "proxy"])
    for one in reports:
        family.add_metric([one.service, one.node], one.expires)
    return family


def _instances(instances: Iterable[InstanceStatus]) -> Metric:
    counted: Counter[tuple[str, str]] = Counter((one.service, one.health) for one in instances)
    words = "Instances with a lease, by service and health."
    family = GaugeMetricFamily("mesh_instances", words, labels=["service", "health"])
    for service in sorted({service for service, _ in counted}):
        for health in HEALTHS:
            family.add_metric([service, health], counted[service, health])
    return family


def _breakers(breakers: Iterable[Breaker]) -> Metric:
    words = "1 for the state of each circuit breaker."
    family = GaugeMetricFamily("mesh_breaker_state", words, labels=["caller", "callee", "state"])
    for one in breakers:
        for state in BREAKER_STATES:
            family.add_metric([one.from_, one.to, state], float(one.state == state))
    return family


def _own(expires: Mapping[str, float]) -> Metric:
    words = "When the control plane's own certificates end, in seconds since the epoch."
    name = "mesh_certificate_expiry_timestamp_seconds"
    family = GaugeMetricFamily(name, words, labels=["certificate"])
    for each, when in expires.items():
        family.add_metric([each], when)
    return family
