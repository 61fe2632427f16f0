"""The control planes: are they up, how fast do changes reach sidecars, what do they hold?"""

from __future__ import annotations

from meshwright.dashboards.board import CONTROL_PLANE, SIDECARS, Board, Section, chosen, to
from meshwright.dashboards.parts import NONE_IS_GOOD, SOME_IS_BAD, Figure, Lines
from meshwright.dashboards.promql import PLANE, quantile, rate

_EACH = f'{PLANE}, instance=~"$plane"'


def _by(metric: str, label: str = "instance") -> str:
    return f"sum by ({label}) ({rate(metric, _EACH)})"


def _quantiles(histogram: str) -> tuple[tuple[str, str], ...]:
    return tuple((quantile(q / 100, histogram, _EACH), f"p{q}") for q in (50, 99))


NOW = Section(
    "Now",
    (
        Figure(
            "Up",
            "Control planes that Prometheus reaches.",
            "short",
            f"sum(up{{{_EACH}}})",
            ((None, "red"), (1, "green")),
        ),
        Figure(
            "Store",
            "Whether the store answers every control plane. Without it policies cannot change.",
            "bool_yes_no",
            f"min(mesh_store_up{{{_EACH}}})",
            ((None, "red"), (1, "green")),
        ),
        Figure(
            "Revision",
            "The newest revision of the policies that is served.",
            "none",
            f"max(mesh_revision{{{_EACH}}})",
        ),
        Figure(
            "Peers silent",
            "Other control planes that announced themselves and do not answer.",
            "short",
            f"max(mesh_control_planes_unreachable{{{_EACH}}})",
            NONE_IS_GOOD,
        ),
        Figure("Sidecars", "Open streams of sidecars.", "short", f"sum(mesh_xds_streams{{{_EACH}}})"),
        Figure(
            "Refused by Envoys",
            "Responses that Envoys refused (NACK) within an hour; `mesh proxies` says why.",
            "short",
            f"sum(increase(mesh_xds_nacks_total{{{_EACH}}}[1h])) or vector(0)",
            NONE_IS_GOOD,
            decimals=0,
        ),
    ),
)

PUSHES = Section(
    "From a change to the sidecars",
    (
        Lines(
            "Until acknowledged",
            "From a change or a request to the ACK of what was sent for it.",
            "s",
            _quantiles("mesh_xds_push_seconds"),
            ((None, "green"), (1, "orange"), (5, "red")),
            width=8,
        ),
        Lines(
            "Generation",
            "From what is stored to a new configuration of the whole mesh.",
            "s",
            _quantiles("mesh_generation_seconds"),
            ((None, "green"), (0.5, "orange"), (1, "red")),
            width=8,
        ),
        Lines(
            "Lag of the event loop",
            "How much later than asked for the event loop came round. What lags delays everybody.",
            "s",
            _quantiles("mesh_event_loop_lag_seconds"),
            ((None, "green"), (0.1, "orange"), (0.5, "red")),
            width=8,
        ),
        Lines(
            "Responses by type",
            "Responses a second put in line for sidecars.",
            "ops",
            ((_by("mesh_xds_pushes_total", "type"), "{{type}}"),),
            width=8,
        ),
        Lines(
            "Refused by type",
            "Responses a second that Envoys refused, and streams that were refused for who asked.",
            "ops",
            (
                (f"{_by('mesh_xds_nacks_total', 'type')} or vector(0)", "{{type}}"),
                (_by("mesh_xds_refusals_total"), "streams at {{instance}}"),
                (_by("mesh_xds_names_refused_total"), "subscriptions at {{instance}}"),
            ),
            SOME_IS_BAD,
            width=8,
        ),
        Lines(
            "Sidecars by state",
            "Sidecars by whether they have acknowledged what they were sent.",
            "short",
            ((f"sum by (state) (mesh_proxies{{{_EACH}}})", "{{state}}"),),
            stacked=True,
            width=8,
            links=(("Sidecars", to(SIDECARS)),),
        ),
    ),
)

STATE = Section(
    "What they hold",
    (
        Lines(
            "Streams",
            "Sidecars that follow each control plane.",
            "short",
            ((f"sum by (instance) (mesh_xds_streams{{{_EACH}}})", "{{instance}}"),),
            width=8,
        ),
        Lines(
            "Leases",
            "Instances with a lease in the store, by health.",
            "short",
            (("sum by (health) (max by (service, health) (mesh_instances))", "{{health}}"),),
            width=8,
            stacked=True,
        ),
        Lines(
            "Peers",
            "Other control planes that each one knows, and those of them that answer.",
            "short",
            (
                (f"sum by (instance) (mesh_peers{{{_EACH}}})", "{{instance}} knows"),
                (f"sum by (instance) (mesh_peers_reachable{{{_EACH}}})", "{{instance}} hears"),
            ),
            width=8,
        ),
        Lines(
            "Events",
            "Events a second that were noticed, by kind; `mesh events` tells them.",
            "ops",
            ((_by("mesh_events_total", "kind"), "{{kind}}"),),
            width=8,
        ),
        Lines(
            "Memory",
            "Resident bytes of each control plane.",
            "bytes",
            ((f"sum by (instance) (process_resident_memory_bytes{{{_EACH}}})", "{{instance}}"),),
            width=8,
        ),
        Lines(
            "Processor",
            "Processors that each control plane keeps busy.",
            "percentunit",
            ((_by("process_cpu_seconds_total"), "{{instance}}"),),
            width=8,
        ),
    ),
)

API = Section(
    "Admin API",
    (
        Lines(
            "Requests by operation",
            "Requests of the admin API a second.",
            "reqps",
            ((_by("mesh_admin_requests_total", "operation"), "{{operation}}"),),
        ),
        Lines(
            "Duration by operation",
            "95 of 100 requests took no longer. Event streams take as long as they are open.",
            "s",
            ((quantile(0.95, "mesh_admin_request_duration_seconds", _EACH, "operation"), "{{operation}}"),),
            ((None, "green"), (0.5, "orange"), (5, "red")),
        ),
    ),
)

TELEMETRY = Section(
    "Telemetry",
    (
        Lines(
            "Taken in",
            "Messages a second of metrics, spans and access logs from sidecars.",
            "ops",
            ((_by("mesh_telemetry_received_total", "signal"), "{{signal}}"),),
            width=8,
        ),
        Lines(
            "Left out",
            "What was not taken in or made room a second: a sign of too much at once.",
            "ops",
            (
                (f"{_by('mesh_telemetry_dropped_total', 'reason')} or vector(0)", "messages: {{reason}}"),
                (_by("mesh_spans_evicted_total"), "spans made room at {{instance}}"),
                (_by("mesh_telemetry_edges_dropped_total"), "edges at {{instance}}"),
            ),
            width=8,
        ),
        Lines(
            "Queued",
            "Bytes that wait to be folded, and to be forwarded to a collector.",
            "bytes",
            (
                (f"sum by (instance) (mesh_telemetry_queued_bytes{{{_EACH}}})", "{{instance}} to fold"),
                (f"sum by (instance) (mesh_forward_queued_bytes{{{_EACH}}})", "{{instance}} to forward"),
            ),
            width=8,
        ),
        Lines(
            "Kept",
            "Traces and requests that are kept in memory.",
            "short",
            (
                (f"sum by (instance) (mesh_traces_kept{{{_EACH}}})", "{{instance}} traces"),
                (f"sum by (instance) (mesh_requests_kept{{{_EACH}}})", "{{instance}} requests"),
            ),
            width=8,
        ),
        Lines(
            "Memory of traces",
            "Bytes that kept traces take, estimated.",
            "bytes",
            ((f"sum by (instance) (mesh_traces_bytes{{{_EACH}}})", "{{instance}}"),),
            width=8,
        ),
        Lines(
            "Forwarded",
            "Items a second that a collector took, put off, or never got. Nothing without MESH_OTLP_FORWARD.",
            "ops",
            (
                (f"{_by('mesh_forward_sent_total', 'signal')} or vector(0)", "{{signal}}"),
                (_by("mesh_forward_retries_total", "signal"), "{{signal}} put off"),
                (_by("mesh_forward_dropped_total", "signal"), "{{signal}} lost"),
            ),
            width=8,
        ),
    ),
)

BOARD = Board(
    CONTROL_PLANE,
    "Control plane",
    "Are the control planes up, how fast do changes reach sidecars, what do they hold?",
    (NOW, PUSHES, STATE, API, TELEMETRY),
    (chosen("plane", "Control plane", 'label_values(up{job="meshwright-control-plane"}, instance)'),),
)
