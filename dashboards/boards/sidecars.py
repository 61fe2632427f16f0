"""Sidecars: is each one connected, up to date and healthy, and what does it use?"""

from __future__ import annotations

from meshwright.dashboards.board import (
    CONTROL_PLANE,
    SERVICE,
    SIDECARS,
    Board,
    Section,
    dashboard_url,
    query_variable,
)
from meshwright.dashboards.parts import (
    ANY_RATE_IS_BAD,
    GOOD,
    PROXY_COLOURS,
    ZERO_IS_GOOD,
    PanelColumn,
    StatPanel,
    TablePanel,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import AGENT, PROXY, rate

_PROXY = f'{PROXY}, instance=~"$instance"'
_AGENT = f'{AGENT}, instance=~"$instance"'
_ENVOYS = f'{_AGENT}, process="proxy"'
_BY = "by (service, instance)"
_LINK = (("Service", dashboard_url(SERVICE, service="${__field.labels.service}")),)


def _growth(metric: str) -> str:
    return f"sum {_BY} (increase({metric}{{{_PROXY}}}[$__rate_interval]))"


NOW = Section(
    "Now",
    (
        StatPanel(
            "Sidecars", "Sidecars and gateways that Prometheus scrapes.", "short", f"count(up{{{_PROXY}}})"
        ),
        StatPanel(
            "Not scraped",
            "Sidecars that the mesh knows and Prometheus cannot scrape.",
            "short",
            f"count(up{{{_PROXY}}} == 0) or vector(0)",
            ZERO_IS_GOOD,
        ),
        StatPanel(
            "Disconnected",
            "Envoys without a stream to a control plane. They keep their configuration.",
            "short",
            f"count(envoy_control_plane_connected_state{{{_PROXY}}} == 0) or vector(0)",
            ZERO_IS_GOOD,
        ),
        StatPanel(
            "Pending",
            "Sidecars that have not ACKed everything they were sent.",
            "short",
            'sum(mesh_proxies{state="pending"})',
            ZERO_IS_GOOD,
        ),
        StatPanel(
            "Rejected",
            "Sidecars that rejected their configuration. `mesh proxies` shows why.",
            "short",
            'sum(mesh_proxies{state="rejected"})',
            ZERO_IS_GOOD,
        ),
        StatPanel(
            "Agent errors",
            "Workloads whose agent reports an error. Its log has details.",
            "short",
            f"sum(mesh_agent_error{{{_AGENT}}})",
            ZERO_IS_GOOD,
        ),
    ),
)

EACH = Section(
    "Sidecars",
    (
        TablePanel(
            "Sidecars",
            "Each sidecar and gateway.",
            {"service": "Service", "instance": "Instance"},
            (
                PanelColumn(
                    "Connected",
                    f"max {_BY} (envoy_control_plane_connected_state{{{_PROXY}}})",
                    "bool_yes_no",
                    ((None, "red"), (1, GOOD)),
                ),
                PanelColumn("Uptime", f"max {_BY} (envoy_server_uptime{{{_PROXY}}})", "s"),
                PanelColumn("App healthy", f"max {_BY} (mesh_agent_healthy{{{_AGENT}}})", "bool_yes_no"),
                PanelColumn(
                    "Envoy starts",
                    f'sum {_BY} (mesh_agent_process_starts_total{{{_AGENT}, process="proxy"}})',
                ),
                PanelColumn(
                    "Envoy memory", f"max {_BY} (envoy_server_memory_physical_size{{{_PROXY}}})", "bytes"
                ),
                PanelColumn(
                    "Certificate expires in",
                    f"min {_BY} (mesh_agent_certificate_expiry_timestamp_seconds{{{_AGENT}}}) - time()",
                    "s",
                    ((None, "red"), (600, "orange"), (1200, GOOD)),
                ),
                PanelColumn("Clusters", f"max {_BY} (envoy_cluster_manager_active_clusters{{{_PROXY}}})"),
                PanelColumn("Series", f"max {_BY} (scrape_samples_scraped{{{_PROXY}}})"),
            ),
            links=(("Service", dashboard_url(SERVICE, service="${__value.text}")),),
        ),
        TimeSeriesPanel(
            "Sidecars by agent version",
            "More than one: an upgrade is under way or was not finished. `mesh version` lists all parts.",
            "short",
            ((f"count by (version) (mesh_agent_info{{{_AGENT}}})", "{{version}}"),),
            stacked=True,
            width=24,
        ),
    ),
)

UPDATES = Section(
    "Configuration",
    (
        TimeSeriesPanel(
            "Sidecars by state",
            "Whether sidecars have ACKed their configuration, as the control planes see it.",
            "short",
            (("sum by (state) (mesh_proxies)", "{{state}}"),),
            colours=PROXY_COLOURS,
            stacked=True,
            width=8,
            links=(("Control plane", dashboard_url(CONTROL_PLANE)),),
        ),
        TimeSeriesPanel(
            "Accepted updates",
            "Changes that Envoys accepted, by resource type.",
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
        TimeSeriesPanel(
            "Rejected updates",
            "Changes that an Envoy rejected.",
            "short",
            (
                (_growth("envoy_listener_manager_lds_update_rejected"), "{{instance}} listeners"),
                (_growth("envoy_cluster_manager_cds_update_rejected"), "{{instance}} clusters"),
                (_growth("envoy_http_rds_update_rejected"), "{{instance}} routes"),
            ),
            ANY_RATE_IS_BAD,
            width=8,
        ),
        TimeSeriesPanel(
            "Listeners",
            "Active and draining listeners of each Envoy.",
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
        TimeSeriesPanel(
            "Clusters",
            "Clusters of each Envoy: its destinations and those that the mesh itself needs.",
            "short",
            ((f"sum {_BY} (envoy_cluster_manager_active_clusters{{{_PROXY}}})", "{{instance}}"),),
            width=8,
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Connected",
            "1 while an Envoy has a stream to a control plane.",
            "bool_yes_no",
            ((f"min {_BY} (envoy_control_plane_connected_state{{{_PROXY}}})", "{{instance}}"),),
            width=8,
            max_value=1,
            links=_LINK,
        ),
    ),
)

COST = Section(
    "Resource usage",
    (
        TimeSeriesPanel(
            "CPU by process",
            "CPU cores used by each workload's processes. An agent with several workloads counts in each.",
            "percentunit",
            (
                (
                    f"sum by (instance, process) ({rate('mesh_agent_process_cpu_seconds_total', _AGENT)})",
                    "{{instance}} {{process}}",
                ),
            ),
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Envoy CPU per 1000 requests",
            "CPU time of each Envoy for a thousand requests that it received, from its app and from callers. "
            "High where there are few requests, because Envoy needs some at rest.",
            "s",
            (
                (
                    f"1000 * sum {_BY} ({rate('mesh_agent_process_cpu_seconds_total', _ENVOYS)}) "
                    f"/ (sum {_BY} ({rate('envoy_http_downstream_rq_xx', _PROXY)}) > 0)",
                    "{{instance}}",
                ),
            ),
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Memory by process",
            "Resident memory of each workload's processes. An agent with several workloads counts in each.",
            "bytes",
            (
                (
                    f"sum by (instance, process) (mesh_agent_process_resident_memory_bytes{{{_AGENT}}})",
                    "{{instance}} {{process}}",
                ),
            ),
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Envoy heap",
            "Allocated bytes of each Envoy.",
            "bytes",
            ((f"sum {_BY} (envoy_server_memory_allocated{{{_PROXY}}})", "{{instance}}"),),
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Restarts",
            "Starts of apps and Envoys by their agent. More than one means a restart.",
            "short",
            (
                (
                    f"sum by (instance, process) (mesh_agent_process_starts_total{{{_AGENT}}})",
                    "{{instance}} {{process}}",
                ),
            ),
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Series by sidecar",
            "Samples per scrape of each Envoy.",
            "short",
            ((f"sum {_BY} (scrape_samples_scraped{{{_PROXY}}})", "{{instance}}"),),
            links=_LINK,
        ),
    ),
)

BOARD = Board(
    SIDECARS,
    "Sidecars",
    "Is each sidecar connected, up to date and healthy, and what does it use?",
    (NOW, EACH, UPDATES, COST),
    (
        query_variable("service", "Service", 'label_values(up{job="meshwright-proxy"}, service)'),
        query_variable(
            "instance", "Instance", 'label_values(up{job="meshwright-proxy", service=~"$service"}, instance)'
        ),
    ),
)
