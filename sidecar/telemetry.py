"""What Envoy tells of itself: which statistics are kept, and how they and the spans get to the control plane.

Statistics are pushed by Envoy's OpenTelemetry sink as deltas. Nothing is buffered while the control plane is
away: what happened meanwhile is not told later, and requests do not notice.
"""

from __future__ import annotations

from typing import Any

from meshwright.control_plane.api import cluster_names

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy"

INCLUDED_STATS = (
    {"prefix": "server."},
    {"prefix": "listener_manager."},
    {"prefix": "cluster_manager."},
    {"prefix": "control_plane."},
    {"prefix": "sds."},
    {"prefix": "mesh."},
    {"safe_regex": {"regex": r"(http|listener|tcp)\..*(_rq_|_cx_|rbac|fail|no_certificate|rds|flow).*"}},
    {
        "safe_regex": {
            "regex": r"cluster\..*\.(upstream_rq_.*|upstream_cx_(active|total|overflow|none_healthy"
            r"|connect_fail|connect_timeout|destroy_remote.*|destroy_local.*|rx_bytes_total|tx_bytes_total)|membership_.*|circuit_breakers.*"
            r"|outlier_detection\..*|health_check\..*|retry_.*|ssl\..*|update_.*|lb_healthy_panic"
            r"|grpc\.(\d+|success|failure|total))"
        }
    },
)
"""Statistics worth their cost; the rest of Envoy's (some 12 KB of text a cluster) are not kept at all."""

EXPORTED_STATS = (
    r"cluster\.[^/.][^.]*\.(upstream_rq_(total|completed|[1-5]xx|time|retry|timeout|per_try_timeout)"
    r"|upstream_cx_(total|active|connect_fail|none_healthy|overflow)|ssl\.handshake|grpc\.\d+|outlier_detection\.ejections_active"
    r"|membership_(healthy|total))"
    r"|mesh\.injected\.envoy\.cluster_name\.[^/].*"
    r"|http\.(inbound|outbound|ingress)\.downstream_rq_[1-5]xx"
)
"""The full names of what is pushed, of all that is kept. Clusters that begin with `/` are no services.

Measured with Envoy 1.40: a push has 1.3 KB when nothing happens (nine clusters), and some 0.5 KB more for
each cluster with traffic. Envoy writes the `:` of a cluster's name as `_` here. `upstream_rq_total` counts
tries that reached a host; `upstream_rq_completed` and `_Nxx` count requests by their final answer, Envoy's
own answers among them; `upstream_rq_time` has only requests that a host answered. `mesh.injected` are the
answers of FaultInjection (control_plane/policies/faultinjection/fault_counter.py), which no statistic of a cluster has.
"""

EXPORT_INTERVAL = "2s"
EXPORT_TIMEOUT = "1s"
"""A push that takes longer is given up; the next one tells what happens after it."""

DURATION_BOUNDS = (
    *(0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700),
    *(1000, 1500, 2000, 3000, 5000, 7000, 10_000, 30_000, 60_000),
)
"""Upper bounds of the buckets of `upstream_rq_time`, in milliseconds. Envoy measures whole ones."""

SPAN_FLUSH_MS, SPAN_FLUSH_COUNT = 1000, 512
"""Spans leave after a second (Envoy's own: 5 s), or as soon as there are so many."""


GRPC_STATUS_TAG = {"tag_name": "mesh.grpc_status", "regex": r"^cluster\.[^.]+\.grpc(\.(\d+))$"}
"""Takes the status out of `cluster.orders.grpc.14`, so that there is one metric for all of them.

Envoy removes the first group from the name; the second is the tag.
"""


def stats_config() -> Json:
    """What is kept, under which names, and the buckets of durations."""
    bounds = {"match": {"suffix": "upstream_rq_time"}, "buckets": list(DURATION_BOUNDS)}
    return {
        "stats_matcher": {"inclusion_list": {"patterns": list(INCLUDED_STATS)}},
        "stats_tags": [GRPC_STATUS_TAG],
        "histogram_bucket_settings": [bounds],
    }


def runtime_settings() -> Json:
    """Settings of the exporter of spans."""
    return {
        "tracing.opentelemetry.flush_interval_ms": SPAN_FLUSH_MS,
        "tracing.opentelemetry.min_flush_spans": SPAN_FLUSH_COUNT,
    }


def stats_sink(service: str, instance: str) -> Json:
    """The fields of the bootstrap that push statistics as `service`'s `instance` to the control plane."""
    who = {"service.name": service, "service.instance.id": instance}
    detector = (
        "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig"
    )
    static = {"@type": f"type.googleapis.com/{detector}", "attributes": who}
    name = "envoy.tracers.opentelemetry.resource_detectors.static_config"
    sink = {
        "@type": f"{_TYPE}.extensions.stat_sinks.open_telemetry.v3.SinkConfig",
        "grpc_service": {"envoy_grpc": {"cluster_name": cluster_names.TELEMETRY}, "timeout": EXPORT_TIMEOUT},
        "resource_detectors": [{"name": name, "typed_config": static}],
        "report_counters_as_deltas": True,
        "report_histograms_as_deltas": True,
        "emit_tags_as_attributes": True,
        "use_tag_extracted_name": True,
        "custom_metric_conversions": _drop_all_but(EXPORTED_STATS),
    }
    return {
        "stats_sinks": [{"name": "envoy.stat_sinks.open_telemetry", "typed_config": sink}],
        "stats_flush_interval": EXPORT_INTERVAL,
    }


def _drop_all_but(names: str) -> Json:
    """The sink's matcher that drops all but statistics whose full name is one of `names`."""
    kind = f"{_TYPE}.extensions.matching.common_inputs.stats.v3.StatFullNameMatchInput"
    full_name = {"name": "name", "typed_config": {"@type": kind}}
    wanted = {
        "single_predicate": {
            "input": full_name,
            "value_match": {"safe_regex": {"google_re2": {}, "regex": names}},
        }
    }
    drop = {"@type": f"{_TYPE}.extensions.stat_sinks.open_telemetry.v3.SinkConfig.DropAction"}
    action = {"action": {"name": "drop", "typed_config": drop}}
    return {"matcher_list": {"matchers": [{"predicate": {"not_matcher": wanted}, "on_match": action}]}}
