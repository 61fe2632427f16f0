"""Mutual TLS, certificates and their expiry, and denied connections."""

from __future__ import annotations

from meshwright.dashboards.board import (
    SECURITY,
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
    ZERO_IS_GOOD,
    PanelColumn,
    StatPanel,
    TablePanel,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import CONTROL_PLANE_JOB, PROXY, rate, ratio

_IN = f'{PROXY}, envoy_http_conn_manager_prefix="inbound"'
_OUT = f'{PROXY}, envoy_cluster_name!~"/.*"'
_REFUSED = f'{CONTROL_PLANE_JOB}, service=~"$service"'
_LIMITED = 'job="meshwright-proxy", service=~"$service"'
_ENDS = 'mesh_proxy_certificate_expiry_timestamp_seconds{service=~"$service"}'
_LEFT = ((None, "red"), (600, "orange"), (1200, GOOD))
_SHARE = ((None, "red"), (0.5, "orange"), (1, GOOD))


def _denied(metric: str, where: str, by: str) -> str:
    return f"sum by ({by}) ({rate(metric, where)})" if by else f"sum({rate(metric, where)})"


MUTUAL_TLS = Section(
    "Mutual TLS",
    (
        StatPanel(
            "Encrypted",
            "The share of open connections to sidecars with mutual TLS. "
            "MutualTLS policies can allow plaintext.",
            "percentunit",
            ratio(
                f"sum(envoy_http_downstream_cx_ssl_active{{{_IN}}})",
                f"sum(envoy_http_downstream_cx_active{{{_IN}}})",
            ),
            _SHARE,
            width=6,
        ),
        StatPanel(
            "Next certificate expiry",
            "Time until the first sidecar certificate expires. Renewal is due after half of its life.",
            "s",
            f"min({_ENDS}) - time()",
            _LEFT,
            width=6,
        ),
        StatPanel(
            "Root expiry",
            "Time until the mesh's root certificate expires.",
            "s",
            'min(mesh_certificate_expiry_timestamp_seconds{certificate="root"}) - time()',
            ((None, "red"), (30 * 86400, "orange"), (90 * 86400, GOOD)),
            width=6,
        ),
        StatPanel(
            "Denied",
            "Connections, streams and requests per second denied because of their identity.",
            "ops",
            f"(sum({rate('mesh_admin_refused_total', CONTROL_PLANE_JOB)}) or vector(0)) "
            f"+ sum({rate('mesh_xds_refusals_total', CONTROL_PLANE_JOB)}) "
            f"+ sum({rate('mesh_agent_denied_total', CONTROL_PLANE_JOB)})",
            ANY_RATE_IS_BAD,
            width=6,
            decimals=2,
        ),
        TimeSeriesPanel(
            "Encrypted by service",
            "The share of open connections to each service's sidecars with mutual TLS.",
            "percentunit",
            (
                (
                    ratio(
                        f"sum by (service) (envoy_http_downstream_cx_ssl_active{{{_IN}}})",
                        f"sum by (service) (envoy_http_downstream_cx_active{{{_IN}}})",
                    ),
                    "{{service}}",
                ),
            ),
            _SHARE,
            max_value=1,
            width=8,
        ),
        TimeSeriesPanel(
            "Handshakes",
            "TLS handshakes per second of each caller's sidecars with callees.",
            "ops",
            ((f"sum by (service) ({rate('envoy_cluster_ssl_handshake', _OUT)})", "{{service}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Protocols",
            "Handshakes by TLS version and key exchange since the sidecars started. Only TLS 1.3 is allowed.",
            "short",
            (
                (
                    f"sum by (envoy_ssl_version) (envoy_cluster_ssl_versions{{{_OUT}}})",
                    "{{envoy_ssl_version}}",
                ),
                (f"sum by (envoy_ssl_curve) (envoy_cluster_ssl_curves{{{_OUT}}})", "{{envoy_ssl_curve}}"),
            ),
            width=8,
        ),
    ),
)

CERTIFICATES = Section(
    "Certificates",
    (
        TablePanel(
            "Sidecar certificates",
            "Time until each sidecar's certificate expires.",
            {"service": "Service", "proxy": "Instance"},
            (PanelColumn("Expires in", f"min by (service, proxy) ({_ENDS}) - time()", "s", _LEFT),),
            width=8,
            links=(("Service", dashboard_url(SERVICE, service="${__value.text}")),),
        ),
        TimeSeriesPanel(
            "Time to expiry",
            "Time until certificates expire, by service. A line that keeps falling means a failed renewal.",
            "s",
            (
                (f"min by (service) ({_ENDS}) - time()", "{{service}}"),
                (
                    "min by (certificate) (mesh_certificate_expiry_timestamp_seconds"
                    f'{{{CONTROL_PLANE_JOB}, certificate!="root"}}) - time()',
                    "{{certificate}}",
                ),
            ),
            width=8,
            links=(("Sidecars", dashboard_url(SIDECARS)),),
        ),
        TimeSeriesPanel(
            "Enrolments",
            "Requests for certificates per second, by outcome. Refused ones had no valid token.",
            "ops",
            ((_denied("mesh_enrolments_total", CONTROL_PLANE_JOB, "outcome"), "{{outcome}}"),),
            width=8,
        ),
    ),
)

DENIALS = Section(
    "Denied",
    (
        TimeSeriesPanel(
            "Refused by policies",
            "Requests per second that policies refused, by policy and caller.",
            "reqps",
            (
                (
                    f"sum by (policy, caller) ({rate('mesh_requests_refused_total', _REFUSED)})",
                    "{{policy}} {{caller}}",
                ),
            ),
            ANY_RATE_IS_BAD,
            width=12,
        ),
        TimeSeriesPanel(
            "Denied by sidecars and gateways",
            "Connections per second without the TLS they require, by reason. Events name the peer.",
            "cps",
            (
                (
                    f"sum by (service, reason) ({rate('mesh_connections_refused_total', _REFUSED)})",
                    "{{service}} {{reason}}",
                ),
            ),
            ZERO_IS_GOOD,
            width=12,
        ),
        TimeSeriesPanel(
            "Denied by callers",
            "Connections per second that callers closed because the server had the wrong identity.",
            "cps",
            (
                (
                    _denied("envoy_cluster_ssl_fail_verify_san", _OUT, "service"),
                    "{{service}} wrong name",
                ),
                (
                    _denied("envoy_cluster_ssl_fail_verify_error", _OUT, "service"),
                    "{{service}} not of this mesh",
                ),
                (
                    _denied("envoy_cluster_ssl_connection_error", _OUT, "service"),
                    "{{service}} TLS failed",
                ),
            ),
            ZERO_IS_GOOD,
            width=12,
        ),
        TimeSeriesPanel(
            "Denied by control planes",
            "Requests per second that control planes denied because of the caller's identity, by port.",
            "ops",
            (
                (_denied("mesh_admin_refused_total", CONTROL_PLANE_JOB, "reason"), "admin API: {{reason}}"),
                (_denied("mesh_xds_refusals_total", CONTROL_PLANE_JOB, ""), "xDS"),
                (_denied("mesh_agent_denied_total", CONTROL_PLANE_JOB, ""), "agents"),
                (_denied("mesh_peer_denied_total", CONTROL_PLANE_JOB, ""), "peers"),
                (_denied("mesh_telemetry_refused_total", CONTROL_PLANE_JOB, ""), "telemetry"),
            ),
            ZERO_IS_GOOD,
            width=12,
        ),
    ),
)

RATE_LIMITS = Section(
    "Rate limits",
    (
        TimeSeriesPanel(
            "Beyond limits",
            "Requests per second that rate limits refused, or would refuse in audit, by service and policy.",
            "reqps",
            (
                (
                    "sum by (service, mesh_policy, mesh_outcome) "
                    f"({rate('envoy_mesh_rate_limited', _LIMITED)})",
                    "{{service}} {{mesh_policy}} {{mesh_outcome}}",
                ),
            ),
            ANY_RATE_IS_BAD,
            width=12,
        ),
        TimeSeriesPanel(
            "Global limits",
            "Requests per second that control planes counted for global limits, by policy and outcome, and "
            "those that they could not count.",
            "reqps",
            (
                (
                    f"sum by (policy, outcome) ({rate('mesh_rate_limit_requests_total', CONTROL_PLANE_JOB)})",
                    "{{policy}} {{outcome}}",
                ),
                (
                    _denied("mesh_rate_limit_failures_total", CONTROL_PLANE_JOB, "reason"),
                    "not counted: {{reason}}",
                ),
            ),
            width=12,
        ),
    ),
)

BOARD = Board(
    SECURITY,
    "Security",
    "Mutual TLS, certificates and their expiry, denied connections, and rate limits.",
    (MUTUAL_TLS, CERTIFICATES, DENIALS, RATE_LIMITS),
    (query_variable("service", "Service", 'label_values(up{job="meshwright-proxy"}, service)'),),
)
