"""Envoy's statistics and spans: which statistics exist, which ones are exported, and how.

Envoy's OpenTelemetry sink exports statistics as deltas. It buffers nothing while the control plane is away:
deltas of that time are lost, and requests are not affected.
"""

from __future__ import annotations

from meshwright.control_plane.api import cluster_names
from meshwright.sidecar.bootstrap.params import Json

_TYPE = "type.googleapis.com/envoy"

INCLUDED_STATS = (
    {"prefix": "server."},
    {"prefix": "listener_manager."},
    {"prefix": "cluster_manager."},
    {"prefix": "control_plane."},
    {"prefix": "sds."},
    {"prefix": "mesh."},
    {
        "safe_regex": {
            "regex": r"(http|listener|tcp)\..*(_rq_|_cx_|rbac|jwt_authn|fail|no_certificate|rds|flow).*"
        }
    },
    {
        "safe_regex": {
            "regex": r"cluster\..*\.(upstream_rq_.*|upstream_cx_(active|total|overflow|none_healthy"
            r"|connect_fail|connect_timeout|destroy_remote.*|destroy_local.*|rx_bytes_total|tx_bytes_total)|membership_.*|circuit_breakers.*"
            r"|outlier_detection\..*|health_check\..*|retry_.*|ssl\..*|update_.*|lb_healthy_panic"
            r"|grpc\.(\d+|success|failure|total))"
        }
    },
    {"safe_regex": {"regex": r"vhost\..*\.route\..*\.upstream_rq_([1-5]xx|time|retry|timeout)"}},
)
"""The statistics worth their cost. Envoy does not create the others (some 12 KB of text a cluster)."""

EXPORTED_STATS = (
    r"cluster\.(?:[^/.][^.]*|/external(?:/[^.]+)?)\.(upstream_rq_(total|completed|[1-5]xx|time|retry|timeout|per_try_timeout)"
    r"|upstream_cx_(total|active|connect_fail|none_healthy|overflow)|ssl\.handshake|grpc\.\d+|outlier_detection\.ejections_active"
    r"|membership_(healthy|total))|cluster\./app/[^.]+\.membership_healthy"
    r"|mesh\.(local_replies|wait_time|rate_limited)\..*"
    r"|http\.(inbound|outbound|ingress)\.downstream_rq_[1-5]xx"
)
"""Full names of the statistics to export, a subset of INCLUDED_STATS. Clusters that start with `/` are not
services; `/external` and those below it are hosts outside the mesh; `/app/http` tells if the app listens.

Measured with Envoy 1.40: an export has 1.3 KB without traffic (nine clusters), and some 0.5 KB more for each
cluster with traffic. Envoy writes the `:` of a cluster's name as `_` here. `upstream_rq_total` counts tries
that reached a host; `upstream_rq_completed` and `_Nxx` count requests by their final response, including
Envoy's own; `upstream_rq_time` has only requests that a host responded to. `mesh.local_replies`
and `mesh.wait_time` have what no cluster counts (control_plane/core/local_replies.py), `mesh.rate_limited`
the requests beyond limits by policy (control_plane/core/limited_requests.py).
"""

EXPORT_INTERVAL = "2s"
EXPORT_TIMEOUT = "1s"
"""A slower export is dropped. The next one has only what happened after it."""

DURATION_BOUNDS = (
    *(0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700),
    *(1000, 1500, 2000, 3000, 5000, 7000, 10_000, 30_000, 60_000),
)
"""Upper bounds of the buckets of `upstream_rq_time`, in milliseconds. Envoy measures whole milliseconds."""

WAIT_BOUNDS = tuple(
    sorted(
        {
            *DURATION_BOUNDS,
            *(
                round((step - 0.01) * decade, 2)
                for decade in (1, 10, 100, 1000, 10_000)
                for step in (1, 1.1, 1.2, 1.5, 2, 2.2, 2.5, 2.7, 3, 3.3, 4, 4.4, 5, 5.5, 6, 7, 8, 9)
            ),
        }
    )
)
"""Upper bounds of the buckets of `mesh.wait_time`, in milliseconds: those of `upstream_rq_time`, to which
dashboards/rules/recording.yml adds them, and finer ones, since only requests that a proxy answers or delays
are in it. These are just below the round numbers that delays and timeouts have: Envoy's own bins are two
digits wide, and a bin that begins at a bound counts as below it."""

SPAN_FLUSH_MS, SPAN_FLUSH_COUNT = 1000, 512
"""Envoy exports spans after a second (its default: 5 s), or as soon as it has this many."""


GRPC_STATUS_TAG = {"tag_name": "mesh.grpc_status", "regex": r"^cluster\.[^.]+\.grpc(\.(\d+))$"}
"""Moves the status of `cluster.orders.grpc.14` into a tag, so that one metric covers all statuses.

Envoy removes the first group from the name; the second is the tag's value.
"""

RULE_TAGS = (
    {"tag_name": "mesh.virtual_host", "regex": r"^vhost\.((.+?)\.)route\."},
    {"tag_name": "mesh.rule", "regex": r"^vhost\..+?\.route\.((.+)\.)upstream_rq_"},
)
"""The same for `vhost.HOST.route.RULE.upstream_rq_2xx` (control_plane/core/route_statistics.py).

Both names may have dots.
"""


def stats_config() -> Json:
    """Which statistics Envoy creates, their tags, and the buckets of durations."""
    durations = [
        {"match": {"suffix": "upstream_rq_time"}, "buckets": list(DURATION_BOUNDS)},
        {"match": {"prefix": "mesh.wait_time"}, "buckets": list(WAIT_BOUNDS)},
    ]
    return {
        "stats_matcher": {"inclusion_list": {"patterns": list(INCLUDED_STATS)}},
        "stats_tags": [GRPC_STATUS_TAG, *RULE_TAGS],
        "histogram_bucket_settings": durations,
    }


def runtime_settings() -> Json:
    """Runtime keys of the span exporter."""
    return {
        "tracing.opentelemetry.flush_interval_ms": SPAN_FLUSH_MS,
        "tracing.opentelemetry.min_flush_spans": SPAN_FLUSH_COUNT,
    }


def stats_sink(service: str, instance: str) -> Json:
    """The bootstrap's fields that export statistics to the control plane."""
    detector = (
        "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig"
    )
    attributes = {"service.name": service, "service.instance.id": instance}
    resource = {"@type": f"type.googleapis.com/{detector}", "attributes": attributes}
    name = "envoy.tracers.opentelemetry.resource_detectors.static_config"
    sink = {
        "@type": f"{_TYPE}.extensions.stat_sinks.open_telemetry.v3.SinkConfig",
        "grpc_service": {
            "envoy_grpc": {"cluster_name": cluster_names.TELEMETRY},
            "timeout": EXPORT_TIMEOUT,
        },
        "resource_detectors": [{"name": name, "typed_config": resource}],
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
    """The sink's matcher that drops statistics whose full name does not match `names`."""
    type_url = f"{_TYPE}.extensions.matching.common_inputs.stats.v3.StatFullNameMatchInput"
    full_name = {"name": "name", "typed_config": {"@type": type_url}}
    exported = {
        "single_predicate": {
            "input": full_name,
            "value_match": {"safe_regex": {"google_re2": {}, "regex": names}},
        }
    }
    drop = {"@type": f"{_TYPE}.extensions.stat_sinks.open_telemetry.v3.SinkConfig.DropAction"}
    action = {"action": {"name": "drop", "typed_config": drop}}
    return {"matcher_list": {"matchers": [{"predicate": {"not_matcher": exported}, "on_match": action}]}}
