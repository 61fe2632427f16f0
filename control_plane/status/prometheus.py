"""The state of the mesh as Prometheus metrics, read at each scrape. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.models.status import ControlPlaneStatus
from meshwright.control_plane.api.models.topology import Breaker
from meshwright.control_plane.policies.rollout.progress import Phase, progress_of
from meshwright.control_plane.policies.rollout.spec import Rollout

PROXY_STATES = ("synced", "pending", "rejected", "disconnected")
BREAKER_STATES = ("closed", "half-open", "partial", "open")
ROLLOUT_PHASES: tuple[str, ...] = get_args(Phase)
INSTANCE_HEALTHS = ("healthy", "unhealthy", "draining")


@dataclass(frozen=True, slots=True)
class MeshMetrics:
    """The values of one scrape. `proxies` and `reports` are those connected to this control plane.

    `crashed` are services that have no instance and did not end as planned. `version` is the release of this
    control plane.
    """

    version: str = ""
    revision: int = 0
    store_up: bool = True
    proxies: Iterable[ProxyStatus] = ()
    reports: Iterable[ProxyReport] = ()
    instances: tuple[InstanceStatus, ...] = ()
    crashed: tuple[str, ...] = ()
    breakers: tuple[Breaker, ...] = ()
    control_planes: tuple[ControlPlaneStatus, ...] = ()
    rollouts: tuple[Rollout, ...] = ()


class MeshCollector(Collector):
    """Reads `metrics` at each scrape. `expires` returns the expiry of the control plane's certificates."""

    def __init__(
        self, metrics: Callable[[], MeshMetrics], expires: Callable[[], Mapping[str, float]]
    ) -> None:
        self._metrics = metrics
        self._expires = expires

    def describe(self) -> Iterable[Metric]:
        """Nothing: at registration there is no mesh to read from yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric family, with current values."""
        metrics = self._metrics()
        unreachable = sum(status.state == "unreachable" for status in metrics.control_planes)
        yield _gauge("mesh_revision", "The newest revision that is served.", metrics.revision)
        yield _gauge("mesh_store_up", "1 if the store is reachable.", float(metrics.store_up))
        yield _gauge(
            "mesh_control_planes_unreachable", "Other control planes that do not respond.", unreachable
        )
        yield _parts(metrics.version, metrics.reports)
        yield _proxies(metrics.proxies)
        yield _proxy_certificates(metrics.reports)
        yield _instances(metrics.instances, metrics.crashed)
        yield _breakers(metrics.breakers)
        yield _trials(metrics.breakers)
        yield from _rollouts(metrics.rollouts)
        yield _certificates(self._expires())


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=value)


def _parts(control_plane: str, reports: Iterable[ProxyReport]) -> Metric:
    """The parts of the mesh, as in `mesh version`. One that does not say its version is `unknown`."""
    counts = Counter({("control plane", control_plane): 1})
    for report in reports:
        counts["agent", report.agent or "unknown"] += 1
        counts["Envoy", report.version or "unknown"] += 1
    help = "This control plane, and the agents and Envoys of the proxies connected to it, by version."
    family = GaugeMetricFamily("mesh_parts", help, labels=["component", "version"])
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    return family


def _proxies(proxies: Iterable[ProxyStatus]) -> Metric:
    counts: Counter[str] = Counter(proxy.state for proxy in proxies)
    family = GaugeMetricFamily("mesh_proxies", "Proxies connected to this control plane.", labels=["state"])
    for state in PROXY_STATES:
        family.add_metric([state], counts[state])
    return family


def _proxy_certificates(reports: Iterable[ProxyReport]) -> Metric:
    help = "When a proxy's certificate expires, in seconds since the epoch."
    name = "mesh_proxy_certificate_expiry_timestamp_seconds"
    family = GaugeMetricFamily(name, help, labels=["service", "proxy"])
    for report in reports:
        family.add_metric([report.service, report.node], report.expires)
    return family


def _instances(instances: Iterable[InstanceStatus], crashed: Iterable[str]) -> Metric:
    counts: Counter[tuple[str, str]] = Counter((instance.service, instance.health) for instance in instances)
    help = "Instances with a lease, by service and health; 0 for a service that crashed."
    family = GaugeMetricFamily("mesh_instances", help, labels=["service", "health"])
    for service in sorted({*crashed, *(service for service, _ in counts)}):
        for health in INSTANCE_HEALTHS:
            family.add_metric([service, health], counts[service, health])
    return family


def _breakers(breakers: Iterable[Breaker]) -> Metric:
    help = "1 for the current state of each circuit breaker, 0 for the others."
    family = GaugeMetricFamily("mesh_breaker_state", help, labels=["caller", "callee", "state"])
    for breaker in breakers:
        for state in BREAKER_STATES:
            family.add_metric([breaker.from_, breaker.to, state], float(breaker.state == state))
    return family


def _trials(breakers: Iterable[Breaker]) -> Metric:
    help = "Trials of ejected instances by outcome (passed, failed), of CircuitBreakers with halfOpen: probe."
    family = CounterMetricFamily("mesh_breaker_trials", help, labels=["caller", "callee", "outcome"])
    for breaker in breakers:
        for outcome, count in (("passed", breaker.trials_passed), ("failed", breaker.trials_failed)):
            family.add_metric([breaker.from_, breaker.to, outcome], count)
    return family


def _rollouts(rollouts: Iterable[Rollout]) -> Iterator[Metric]:
    help = "Percentage of requests that each Rollout gives its canary."
    weights = GaugeMetricFamily("mesh_rollout_weight", help, labels=["rollout"])
    help = "1 for the phase of each Rollout, 0 for the others."
    phases = GaugeMetricFamily("mesh_rollout_phase", help, labels=["rollout", "phase"])
    for rollout in rollouts:
        progress = progress_of(rollout)
        weights.add_metric([rollout.name], progress.weight(rollout.spec))
        for phase in ROLLOUT_PHASES:
            phases.add_metric([rollout.name, phase], float(progress.phase == phase))
    yield weights
    yield phases


def _certificates(expires: Mapping[str, float]) -> Metric:
    help = "When the control plane's own certificates expire, in seconds since the epoch."
    name = "mesh_certificate_expiry_timestamp_seconds"
    family = GaugeMetricFamily(name, help, labels=["certificate"])
    for certificate, timestamp in expires.items():
        family.add_metric([certificate], timestamp)
    return family
