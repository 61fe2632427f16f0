"""Sidecars and their configuration: is each one connected, up to date, well, and what does it take?"""

from __future__ import annotations

from meshwright.dashboards.board import CONTROL_PLANE, SERVICE, SIDECARS, Board, Section, chosen, to
from meshwright.dashboards.parts import GOOD, NONE_IS_GOOD, SOME_IS_BAD, Column, Figure, Lines, Rows
from meshwright.dashboards.promql import AGENT, PROXY

_PROXY = f'{PROXY}, instance=~"$instance"'
_AGENT = f'{AGENT}, instance=~"$instance"'
_BY = "by (service, instance)"
_LINK = (("Service", to(SERVICE, service="${__field.labels.service}")),)


def _growth(metric: str) -> str:
    return f"sum {_BY} (increase({metric}{{{_PROXY}}}[$__rate_interval]))"


NOW = Section(
    "Now",
    (
        Figure("Sidecars", "Sidecars and gateways that are scraped.", "short", f"count(up{{{_PROXY}}})"),
        Figure(
            "Not scraped",
            "Sidecars that the mesh knows and that Prometheus does not reach.",
            "short",
            f"count(up{{{_PROXY}}} == 0) or vector(0)",
            NONE_IS_GOOD,
        ),
        Figure(
            "Not connected",
            "Envoys without a stream to a control plane. They go on with what they have.",
            "short",
            f"count(envoy_control_plane_connected_state{{{_PROXY}}} == 0) or vector(0)",
            NONE_IS_GOOD,
        ),
        Figure(
            "Pending",
            "Sidecars that have not acknowledged all they were sent.",
            "short",
            'sum(mesh_proxies{state="pending"})',
            NONE_IS_GOOD,
        ),
        Figure(
            "Rejected",
            "Sidecars that refuse what they were sent. `mesh proxies` says why.",
            "short",
            'sum(mesh_proxies{state="rejected"})',
            NONE_IS_GOOD,
        ),
        Figure(
            "Agents in trouble",
            "Workloads whose agent tells of something wrong; its log says what.",
            "short",
            f"sum(mesh_agent_error{{{_AGENT}}})",
            NONE_IS_GOOD,
        ),
    ),
)

EACH = Section(
    "Each sidecar",
    (
        Rows(
            "Sidecars",
            "Each sidecar and gateway now.",
            {"service": "Service", "instance": "Instance"},
            (
                Column(
                    "Connected",
                    f"max {_BY} (envoy_control_plane_connected_state{{{_PROXY}}})",
                    "bool_yes_no",
                    ((None, "red"), (1, GOOD)),
                ),
                Column("Up for", f"max {_BY} (envoy_server_uptime{{{_PROXY}}})", "s"),
                Column("App well", f"max {_BY} (mesh_agent_healthy{{{_AGENT}}})", "bool_yes_no"),
                Column(
                    "Starts of Envoy",
                    f'sum {_BY} (mesh_agent_process_starts_total{{{_AGENT}, process="proxy"}})',
                ),
                Column(
                    "Envoy's memory", f"max {_BY} (envoy_server_memory_physical_size{{{_PROXY}}})", "bytes"
                ),
                Column(
                    "Certificate ends in",
                    f"min {_BY} (mesh_agent_certificate_expiry_timestamp_seconds{{{_AGENT}}}) - time()",
                    "s",
                    ((None, "red"), (600, "orange"), (1200, GOOD)),
                ),
                Column("Clusters", f"max {_BY} (envoy_cluster_manager_active_clusters{{{_PROXY}}})"),
                Column("Series", f"max {_BY} (scrape_samples_scraped{{{_PROXY}}})"),
            ),
            links=(("Service", to(SERVICE, service="${__value.text}")),),
        ),
    ),
)

UPDATES = Section(
    "Configuration",
    (
        Lines(
            "Sidecars by state",
            "Whether sidecars have acknowledged what they were sent, as the control planes see it.",
            "short",
            (("sum by (state) (mesh_proxies)", "{{state}}"),),
            stacked=True,
            width=8,
            links=(("Control plane", to(CONTROL_PLANE)),),
        ),
        Lines(
            "Updates taken",
            "Changes of listeners, clusters and routes that Envoys took.",
            "short",
            (
                (
                    f"sum(increase(envoy_listener_manager_lds_update_success{{{_PROXY}}}[$__rate_interval]))",
                    "listeners",
                ),
                (
                    f"sum(increase(envoy_cluster_manager_cds_update_success{{{_PROXY}}}[$__rate_interval]))",
                    "clusters",
                ),
                (f"sum(increase(envoy_http_rds_update_success{{{_PROXY}}}[$__rate_interval]))", "routes"),
                (f"sum(increase(envoy_cluster_update_success{{{_PROXY}}}[$__rate_interval]))", "endpoints"),
                (f"sum(increase(envoy_sds_update_success{{{_PROXY}}}[$__rate_interval]))", "certificates"),
            ),
            width=8,
        ),
        Lines(
            "Updates refused",
            "Changes that an Envoy refused.",
            "short",
            (
                (_growth("envoy_listener_manager_lds_update_rejected"), "{{instance}} listeners"),
                (_growth("envoy_cluster_manager_cds_update_rejected"), "{{instance}} clusters"),
                (_growth("envoy_http_rds_update_rejected"), "{{instance}} routes"),
            ),
            SOME_IS_BAD,
            width=8,
        ),
        Lines(
            "Listeners",
            "Listeners of each Envoy that take connections, and those that drain.",
            "short",
            (
                (f"sum {_BY} (envoy_listener_manager_total_listeners_active{{{_PROXY}}})", "{{instance}}"),
                (
                    f"sum {_BY} (envoy_listener_manager_total_listeners_draining{{{_PROXY}}})",
                    "{{instance}} draining",
                ),
            ),
            width=8,
            links=_LINK,
        ),
        Lines(
            "Clusters",
            "Clusters of each Envoy: whom it can call, and what the mesh itself needs.",
            "short",
            ((f"sum {_BY} (envoy_cluster_manager_active_clusters{{{_PROXY}}})", "{{instance}}"),),
            width=8,
            links=_LINK,
        ),
        Lines(
            "Connected",
            "1 as long as an Envoy's stream to a control plane is up.",
            "bool_yes_no",
            ((f"min {_BY} (envoy_control_plane_connected_state{{{_PROXY}}})", "{{instance}}"),),
            width=8,
            most=1,
            links=_LINK,
        ),
    ),
)

COST = Section(
    "What they take",
    (
        Lines(
            "Memory by process",
            "Resident bytes of each workload's processes. An agent that keeps several workloads is in each.",
            "bytes",
            (
                (
                    f"sum by (instance, process) (mesh_agent_process_resident_memory_bytes{{{_AGENT}}})",
                    "{{instance}} {{process}}",
                ),
            ),
            links=_LINK,
        ),
        Lines(
            "Envoy's heap",
            "Bytes that each Envoy has allocated.",
            "bytes",
            ((f"sum {_BY} (envoy_server_memory_allocated{{{_PROXY}}})", "{{instance}}"),),
            links=_LINK,
        ),
        Lines(
            "Starts of processes",
            "Starts of apps and Envoys by their agent. More than one is a restart.",
            "short",
            (
                (
                    f"sum by (instance, process) (mesh_agent_process_starts_total{{{_AGENT}}})",
                    "{{instance}} {{process}}",
                ),
            ),
            links=_LINK,
        ),
        Lines(
            "Series by sidecar",
            "Samples of each scrape of an Envoy: what it costs Prometheus.",
            "short",
            ((f"sum {_BY} (scrape_samples_scraped{{{_PROXY}}})", "{{instance}}"),),
            links=_LINK,
        ),
    ),
)

BOARD = Board(
    SIDECARS,
    "Sidecars and configuration",
    "Is each sidecar connected, up to date and well, and what does it take?",
    (NOW, EACH, UPDATES, COST),
    (
        chosen("service", "Service", 'label_values(up{job="meshwright-proxy"}, service)'),
        chosen(
            "instance", "Instance", 'label_values(up{job="meshwright-proxy", service=~"$service"}, instance)'
        ),
    ),
)
