"""Metric names that exist: of registries, of the Envoy statistics that sidecars keep, and of rules."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from ruamel.yaml import YAML

from meshwright.control_plane.status.prometheus import MeshCollector, MeshMetrics
from meshwright.services.hosting.metrics import ServiceMetrics
from meshwright.sidecar.bootstrap.telemetry import INCLUDED_STATS
from meshwright.sidecar.metrics import ProcessUsage, workload_metrics
from meshwright.sidecar.status import WorkloadStatus
from tests.envoy.harness import ROOT

ENVOY_COUNTERS_AND_GAUGES = """
cluster.orders.upstream_rq_completed cluster.orders.upstream_rq_5xx cluster.orders.upstream_rq_retry
cluster.orders.upstream_rq_retry_success cluster.orders.upstream_rq_retry_overflow
cluster.orders.upstream_rq_retry_limit_exceeded cluster.orders.upstream_rq_timeout
cluster.orders.upstream_rq_per_try_timeout cluster.orders.upstream_rq_pending_overflow
cluster.orders.upstream_rq_active cluster.orders.upstream_rq_pending_active
cluster.orders.upstream_cx_overflow cluster.orders.upstream_rq_4xx cluster.orders.upstream_cx_active
cluster.orders.upstream_cx_none_healthy cluster.orders.upstream_cx_total tcp.broker.downstream_cx_total
tcp.broker.downstream_cx_rx_bytes_total tcp.broker.downstream_cx_tx_bytes_total
cluster.orders.upstream_cx_connect_fail cluster.orders.upstream_cx_connect_timeout
cluster.orders.membership_healthy cluster.orders.membership_total cluster.orders.update_success
cluster.orders.grpc.14 cluster.orders.outlier_detection.ejections_active
cluster.orders.ssl.handshake cluster.orders.upstream_rq_total
cluster.orders.upstream_cx_rx_bytes_total cluster.orders.upstream_cx_tx_bytes_total
cluster.orders.ssl.fail_verify_san cluster.orders.ssl.fail_verify_error cluster.orders.ssl.connection_error
cluster.orders.ssl.versions.TLSv1.3 cluster.orders.ssl.curves.X25519
http.inbound.downstream_rq_5xx http.inbound.downstream_rq_active http.inbound.downstream_cx_active
http.inbound.downstream_cx_ssl_active http.inbound.downstream_cx_rx_bytes_total
http.inbound.downstream_cx_tx_bytes_total http.outbound.rds.out.update_success
http.outbound.rds.out.update_rejected
listener.127.0.0.1_15006.ssl.fail_verify_no_cert listener.127.0.0.1_15006.ssl.fail_verify_error
listener.127.0.0.1_15006.ssl.fail_verify_san
listener_manager.lds.update_success listener_manager.lds.update_rejected
listener_manager.total_listeners_active listener_manager.total_listeners_draining
cluster_manager.cds.update_success cluster_manager.cds.update_rejected cluster_manager.active_clusters
mesh.route_failures.mesh.rule.HTTPRoute/shop vhost.out/orders.route.HTTPRoute/shop.upstream_rq_2xx
vhost.out/orders.route.HTTPRoute/shop.upstream_rq_retry
vhost.out/orders.route.HTTPRoute/shop.upstream_rq_timeout
control_plane.connected_state sds.identity.update_success mesh.local_replies.envoy.cluster_name.orders
mesh.rate_limited.mesh.policy.RateLimit/a.mesh.outcome.refused
server.uptime server.memory_allocated server.memory_physical_size
"""
"""Statistics that dashboards may query, by their names on the admin page of Envoy 1.40."""

ENVOY_HISTOGRAMS = "cluster.orders.upstream_rq_time mesh.wait_time.envoy.cluster_name.orders"

PROMETHEUS_NAMES = {"up", "scrape_samples_scraped", "ALERTS"}
"""Names that Prometheus itself provides."""


def metric_names() -> set[str]:
    """Every metric name that a panel may query."""
    return {*_registry_names(), *_envoy_names(), *_rule_names(), *PROMETHEUS_NAMES}


def is_included(stat: str) -> bool:
    """Whether a sidecar's Envoy keeps a statistic."""
    for matcher in INCLUDED_STATS:
        prefix, pattern = matcher.get("prefix"), matcher.get("safe_regex")
        if isinstance(prefix, str) and stat.startswith(prefix):
            return True
        if isinstance(pattern, dict) and re.fullmatch(pattern["regex"], stat):
            return True
    return False


def prometheus_name(stat: str) -> str:
    """The name of a statistic at /stats/prometheus, where tags are labels."""
    if match := re.fullmatch(r"http\.[^.]+\.rds\.[^.]+\.(\w+)", stat):
        return f"envoy_http_rds_{match[1]}"
    if match := re.fullmatch(r"cluster\.[^.]+\.(ssl\.(?:versions|curves))\..*", stat):
        stat = f"cluster.orders.{match[1]}"
    stat = re.sub(r"^(cluster\.[^.]+\.grpc)\.\d+$", r"\1", stat)
    stat = re.sub(r"^vhost\..*\.route\..*\.", "vhost.route.", stat)
    stat = re.sub(r"^(cluster|http|sds|tcp)\.[^.]+\.", r"\1.", stat)
    stat = re.sub(r"^listener\.[\d._]+\.", "listener.", stat)
    stat = re.sub(r"^mesh\.(local_replies|rate_limited|route_failures|wait_time)\..*", r"mesh.\1", stat)
    return "envoy_" + re.sub(r"_[1-5]xx$", "_xx", stat).replace(".", "_")


def _envoy_names() -> Iterator[str]:
    for stat in filter(is_included, ENVOY_COUNTERS_AND_GAUGES.split()):
        yield prometheus_name(stat)
    for stat in filter(is_included, ENVOY_HISTOGRAMS.split()):
        yield from (f"{prometheus_name(stat)}_{suffix}" for suffix in ("bucket", "count", "sum"))


def _registry_names() -> Iterator[str]:
    for module in ("meshwright.control_plane.app", "meshwright.control_plane.metrics"):
        importlib.import_module(module)
    collector = MeshCollector(MeshMetrics, dict)
    workload = WorkloadStatus(
        name="orders-1", service="orders", role="service", phase="running", healthy=True, starts={"proxy": 1}
    )
    service_metrics = ServiceMetrics("orders")
    sources: tuple[Iterable[Metric], ...] = (
        REGISTRY.collect(),
        collector.collect(),
        workload_metrics(workload, {"proxy": ProcessUsage(1, 1.0)}),
        service_metrics.registry.collect(),
    )
    for source in sources:
        for family in source:
            yield from _sample_names(family.name, family.type)
    for path in (ROOT / "services").rglob("*.py"):
        for kind, name in re.findall(r"\b(Counter|Gauge|Histogram)\(\s*\"(\w+)\"", path.read_text()):
            yield from _sample_names(name, kind.lower())


def _sample_names(name: str, kind: str) -> Iterator[str]:
    if kind == "counter":
        yield f"{name.removesuffix('_total')}_total"
    elif kind == "histogram":
        yield from (f"{name}_{suffix}" for suffix in ("bucket", "count", "sum"))
    else:
        yield name


def _rule_names() -> Iterator[str]:
    path: Path = ROOT / "dashboards/rules/recording.yml"
    for group in YAML(typ="safe").load(path)["groups"]:
        yield from (rule["record"] for rule in group["rules"])
