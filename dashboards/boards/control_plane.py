"""Control planes: are they up, how fast do changes reach sidecars, what do they store?"""

from __future__ import annotations

from meshwright.dashboards.board import CONTROL_PLANE, SIDECARS, Board, Section, dashboard_url, query_variable
from meshwright.dashboards.parts import (
    ANY_RATE_IS_BAD,
    HEALTH_COLOURS,
    PROXY_COLOURS,
    WARN,
    ZERO_IS_GOOD,
    HeatmapPanel,
    PanelColumn,
    StatPanel,
    TablePanel,
    Thresholds,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import CONTROL_PLANE_JOB, quantile, rate, zero

_EACH = f'{CONTROL_PLANE_JOB}, instance=~"$plane"'


_ONE_IS_GOOD: Thresholds = ((None, "green"), (2, WARN))


def _by(metric: str, label: str = "instance") -> str:
    return f"sum by ({label}) ({rate(metric, _EACH)})"


def _parts(component: str) -> str:
    return f'sum by (version) (mesh_parts{{{_EACH}, component="{component}"}})'


def _quantiles(histogram: str) -> tuple[tuple[str, str], ...]:
    return tuple((quantile(q / 100, histogram, _EACH), f"p{q}") for q in (50, 99))


NOW = Section(
    "Now",
    (
        StatPanel(
            "Up",
            "Control planes that Prometheus can scrape.",
            "short",
            f"sum(up{{{_EACH}}})",
            ((None, "red"), (1, "green")),
        ),
        StatPanel(
            "Store",
            "Whether the store responds to every control plane. Policies cannot change without it.",
            "bool_yes_no",
            f"min(mesh_store_up{{{_EACH}}})",
            ((None, "red"), (1, "green")),
        ),
        StatPanel(
            "Revision",
            "The newest revision being served.",
            "none",
            f"max(mesh_revision{{{_EACH}}})",
        ),
        StatPanel(
            "Unreachable peers",
            "Other control planes that have announced themselves and do not respond.",
            "short",
            f"max(mesh_control_planes_unreachable{{{_EACH}}})",
            ZERO_IS_GOOD,
        ),
        StatPanel("Sidecars", "Open xDS streams.", "short", f"sum(mesh_xds_streams{{{_EACH}}})"),
        StatPanel(
            "NACKs (1h)",
            "Responses that Envoys rejected in the last hour. `mesh proxies` shows why.",
            "short",
            f"sum(increase(mesh_xds_nacks_total{{{_EACH}}}[1h])) or vector(0)",
            ZERO_IS_GOOD,
            decimals=0,
        ),
    ),
)

PUSHES = Section(
    "Configuration push",
    (
        TimeSeriesPanel(
            "Time to ACK",
            "Time from a change or a request to the ACK.",
            "s",
            _quantiles("mesh_xds_push_seconds"),
            ((None, "green"), (1, "orange"), (5, "red")),
            width=8,
        ),
        TimeSeriesPanel(
            "Generation",
            "Time from stored state to a new configuration of the whole mesh.",
            "s",
            _quantiles("mesh_generation_seconds"),
            ((None, "green"), (0.5, "orange"), (1, "red")),
            width=8,
        ),
        TimeSeriesPanel(
            "Event loop lag",
            "Delay of the event loop beyond the time requested. Lag delays every sidecar.",
            "s",
            _quantiles("mesh_event_loop_lag_seconds"),
            ((None, "green"), (0.1, "orange"), (0.5, "red")),
            width=8,
        ),
        TimeSeriesPanel(
            "Responses by type",
            "Responses per second queued for sidecars.",
            "ops",
            ((_by("mesh_xds_pushes_total", "type"), "{{type}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Rejections by type",
            "Responses per second that Envoys rejected, and streams denied because of their identity.",
            "ops",
            (
                (f"{_by('mesh_xds_nacks_total', 'type')} or {zero('type')}", "{{type}}"),
                (_by("mesh_xds_refusals_total"), "streams at {{instance}}"),
                (_by("mesh_xds_names_refused_total"), "subscriptions at {{instance}}"),
            ),
            ANY_RATE_IS_BAD,
            width=8,
        ),
        TimeSeriesPanel(
            "Sidecars by state",
            "Sidecars by whether they have ACKed their configuration.",
            "short",
            ((f"sum by (state) (mesh_proxies{{{_EACH}}})", "{{state}}"),),
            colours=PROXY_COLOURS,
            stacked=True,
            width=8,
            links=(("Sidecars", dashboard_url(SIDECARS)),),
        ),
        HeatmapPanel(
            "Distribution of times to ACK",
            "Responses that Envoys ACKed or rejected, by the time since the change or the request. A second "
            "band, or a tail, is a part of the sidecars that is slower than the others.",
            "s",
            f"sum by (le) (increase(mesh_xds_push_seconds_bucket{{{_EACH}}}[$__rate_interval]))",
            width=24,
        ),
    ),
)

INSTALLED = Section(
    "Installed versions",
    (
        StatPanel(
            "Control planes: versions",
            "More than one: an upgrade is under way or was not finished. `mesh version` lists all parts.",
            "short",
            f"count({_parts('control plane')})",
            _ONE_IS_GOOD,
            width=8,
        ),
        StatPanel(
            "Agents of another version",
            "Agents of a version that no control plane has. One minor version apart is supported.",
            "short",
            f"sum({_parts('agent')} unless on (version) {_parts('control plane')}) or vector(0)",
            ((None, "green"), (1, WARN)),
            width=8,
        ),
        StatPanel(
            "Envoys: versions",
            "More than one: services run that were not restarted since an upgrade.",
            "short",
            f"count({_parts('Envoy')})",
            _ONE_IS_GOOD,
            width=8,
        ),
        TablePanel(
            "Parts",
            "Control planes, agents and Envoys by version. An agent with several sidecars counts for each.",
            {"component": "Component", "version": "Version"},
            (PanelColumn("Parts", f"sum by (component, version) (mesh_parts{{{_EACH}}})"),),
            width=8,
            height=8,
        ),
        TimeSeriesPanel(
            "Agents by version",
            "How far an upgrade of agents has got.",
            "short",
            ((_parts("agent"), "{{version}}"),),
            stacked=True,
            width=8,
        ),
        TimeSeriesPanel(
            "Envoys by version",
            "How far an upgrade of Envoys has got.",
            "short",
            ((_parts("Envoy"), "{{version}}"),),
            stacked=True,
            width=8,
        ),
    ),
)

STATE = Section(
    "State",
    (
        TimeSeriesPanel(
            "Streams",
            "Sidecars connected to each control plane.",
            "short",
            ((f"sum by (instance) (mesh_xds_streams{{{_EACH}}})", "{{instance}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Leases",
            "Instances with a lease in the store, by health.",
            "short",
            (("sum by (health) (max by (service, health) (mesh_instances))", "{{health}}"),),
            colours=HEALTH_COLOURS,
            width=8,
            stacked=True,
        ),
        TimeSeriesPanel(
            "Peers",
            "Other control planes that each one knows, and those that respond.",
            "short",
            (
                (f"sum by (instance) (mesh_peers{{{_EACH}}})", "{{instance}} knows"),
                (f"sum by (instance) (mesh_peers_reachable{{{_EACH}}})", "{{instance}} reaches"),
            ),
            width=8,
        ),
        TimeSeriesPanel(
            "Events",
            "Events per second, by kind. `mesh events` lists them.",
            "ops",
            ((_by("mesh_events_total", "kind"), "{{kind}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Memory",
            "Resident memory of each control plane.",
            "bytes",
            ((f"sum by (instance) (process_resident_memory_bytes{{{_EACH}}})", "{{instance}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "CPU",
            "CPU cores used by each control plane.",
            "percentunit",
            ((_by("process_cpu_seconds_total"), "{{instance}}"),),
            width=8,
        ),
    ),
)

API = Section(
    "Admin API",
    (
        TimeSeriesPanel(
            "Requests by operation",
            "Requests per second to the admin API.",
            "reqps",
            ((_by("mesh_admin_requests_total", "operation"), "{{operation}}"),),
        ),
        TimeSeriesPanel(
            "Duration by operation",
            "95 % of the requests took at most this long. Event streams last as long as they are open.",
            "s",
            ((quantile(0.95, "mesh_admin_request_duration_seconds", _EACH, "operation"), "{{operation}}"),),
            ((None, "green"), (0.5, "orange"), (5, "red")),
        ),
    ),
)

TELEMETRY = Section(
    "Telemetry",
    (
        TimeSeriesPanel(
            "Received",
            "Messages per second: metrics, spans and access logs from sidecars.",
            "ops",
            ((_by("mesh_telemetry_received_total", "signal"), "{{signal}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Dropped",
            "Messages dropped and spans evicted per second: a sign of overload.",
            "ops",
            (
                (
                    f"{_by('mesh_telemetry_dropped_total', 'reason')} or {zero('reason')}",
                    "messages: {{reason}}",
                ),
                (_by("mesh_spans_evicted_total"), "spans evicted at {{instance}}"),
                (_by("mesh_telemetry_edges_dropped_total"), "edges at {{instance}}"),
            ),
            width=8,
        ),
        TimeSeriesPanel(
            "Queued",
            "Bytes waiting to be processed, and to be forwarded to a collector.",
            "bytes",
            (
                (f"sum by (instance) (mesh_telemetry_queued_bytes{{{_EACH}}})", "{{instance}} to process"),
                (f"sum by (instance) (mesh_forward_queued_bytes{{{_EACH}}})", "{{instance}} to forward"),
            ),
            width=8,
        ),
        TimeSeriesPanel(
            "Stored",
            "Traces and request records in memory.",
            "short",
            (
                (f"sum by (instance) (mesh_traces_kept{{{_EACH}}})", "{{instance}} traces"),
                (f"sum by (instance) (mesh_requests_kept{{{_EACH}}})", "{{instance}} requests"),
            ),
            width=8,
        ),
        TimeSeriesPanel(
            "Trace memory",
            "Estimated memory of the stored traces.",
            "bytes",
            ((f"sum by (instance) (mesh_traces_bytes{{{_EACH}}})", "{{instance}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Forwarded",
            "Records per second accepted by a collector, retried and lost. Needs MESH_OTLP_FORWARD.",
            "ops",
            (
                (f"{_by('mesh_forward_sent_total', 'signal')} or {zero('signal')}", "{{signal}}"),
                (_by("mesh_forward_retries_total", "signal"), "{{signal}} retried"),
                (_by("mesh_forward_dropped_total", "signal"), "{{signal}} lost"),
            ),
            width=8,
        ),
    ),
)

BOARD = Board(
    CONTROL_PLANE,
    "Control plane",
    "Are the control planes up, how fast do changes reach sidecars, what do they store?",
    (NOW, PUSHES, INSTALLED, STATE, API, TELEMETRY),
    (query_variable("plane", "Control plane", 'label_values(up{job="meshwright-control-plane"}, instance)'),),
)
