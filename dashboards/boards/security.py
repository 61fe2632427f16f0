"""Who is who: the share of mutual TLS, certificates and their ends, and who was turned away."""

from __future__ import annotations

from meshwright.dashboards.board import SECURITY, SERVICE, SIDECARS, Board, Section, chosen, to
from meshwright.dashboards.parts import GOOD, NONE_IS_GOOD, SOME_IS_BAD, Column, Figure, Lines, Rows
from meshwright.dashboards.promql import PLANE, PROXY, rate, ratio

_IN = f'{PROXY}, envoy_http_conn_manager_prefix="inbound"'
_OUT = f'{PROXY}, envoy_cluster_name!~"/.*"'
_ENDS = 'mesh_proxy_certificate_expiry_timestamp_seconds{service=~"$service"}'
_LEFT = ((None, "red"), (600, "orange"), (1200, GOOD))
_SHARE = ((None, "red"), (0.5, "orange"), (1, GOOD))


def _turned_away(metric: str, where: str, by: str) -> str:
    return f"sum by ({by}) ({rate(metric, where)})" if by else f"sum({rate(metric, where)})"


MUTUAL_TLS = Section(
    "Mutual TLS",
    (
        Figure(
            "Encrypted",
            "The share of open connections to sidecars that are mutual TLS. "
            "MutualTLS policies may admit plain ones.",
            "percentunit",
            ratio(
                f"sum(envoy_http_downstream_cx_ssl_active{{{_IN}}})",
                f"sum(envoy_http_downstream_cx_active{{{_IN}}})",
            ),
            _SHARE,
            width=6,
        ),
        Figure(
            "Next certificate ends in",
            "The least time that a sidecar's certificate has left. They are renewed at half of their life.",
            "s",
            f"min({_ENDS}) - time()",
            _LEFT,
            width=6,
        ),
        Figure(
            "Root ends in",
            "The time that the mesh's root certificate has left.",
            "s",
            'min(mesh_certificate_expiry_timestamp_seconds{certificate="root"}) - time()',
            ((None, "red"), (30 * 86400, "orange"), (90 * 86400, GOOD)),
            width=6,
        ),
        Figure(
            "Turned away",
            "Connections, streams and requests a second that were refused for who asked.",
            "ops",
            f"(sum({rate('mesh_admin_refused_total', PLANE)}) or vector(0)) "
            f"+ sum({rate('mesh_xds_refusals_total', PLANE)}) "
            f"+ sum({rate('mesh_agent_denied_total', PLANE)})",
            SOME_IS_BAD,
            width=6,
            decimals=2,
        ),
        Lines(
            "Encrypted by service",
            "The share of open connections to each service's sidecars that are mutual TLS.",
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
            most=1,
            width=8,
        ),
        Lines(
            "Handshakes",
            "TLS handshakes a second that each caller's sidecar did with those it calls.",
            "ops",
            ((f"sum by (service) ({rate('envoy_cluster_ssl_handshake', _OUT)})", "{{service}}"),),
            width=8,
        ),
        Lines(
            "Protocols",
            "Handshakes by version of TLS and key exchange since sidecars started: TLS 1.3 alone is allowed.",
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
        Rows(
            "Sidecars' certificates",
            "The time that each sidecar's certificate has left.",
            {"service": "Service", "proxy": "Instance"},
            (Column("Ends in", f"min by (service, proxy) ({_ENDS}) - time()", "s", _LEFT),),
            width=8,
            links=(("Service", to(SERVICE, service="${__value.text}")),),
        ),
        Lines(
            "Time left",
            "The time that certificates have left, by service; a line that falls for long is not renewed.",
            "s",
            (
                (f"min by (service) ({_ENDS}) - time()", "{{service}}"),
                (
                    "min by (certificate) (mesh_certificate_expiry_timestamp_seconds"
                    f'{{{PLANE}, certificate!="root"}}) - time()',
                    "{{certificate}}",
                ),
            ),
            width=8,
            links=(("Sidecars", to(SIDECARS)),),
        ),
        Lines(
            "Enrolments",
            "Requests for certificates a second by outcome. Refused ones had no valid token.",
            "ops",
            ((_turned_away("mesh_enrolments_total", PLANE, "outcome"), "{{outcome}}"),),
            width=8,
        ),
    ),
)

DENIALS = Section(
    "Turned away",
    (
        Lines(
            "At sidecars",
            "Connections a second that sidecars refused: no certificate, or one of another mesh or service.",
            "cps",
            (
                (
                    _turned_away("envoy_listener_ssl_fail_verify_no_cert", PROXY, "service"),
                    "{{service}} no certificate",
                ),
                (
                    _turned_away("envoy_listener_ssl_fail_verify_error", PROXY, "service"),
                    "{{service}} not of this mesh",
                ),
                (
                    _turned_away("envoy_listener_ssl_fail_verify_san", PROXY, "service"),
                    "{{service}} not allowed",
                ),
            ),
            NONE_IS_GOOD,
            width=8,
        ),
        Lines(
            "By callers",
            "Connections a second that callers gave up because the other side was not who it had to be.",
            "cps",
            (
                (
                    _turned_away("envoy_cluster_ssl_fail_verify_san", _OUT, "service"),
                    "{{service}} another name",
                ),
                (
                    _turned_away("envoy_cluster_ssl_fail_verify_error", _OUT, "service"),
                    "{{service}} not of this mesh",
                ),
                (
                    _turned_away("envoy_cluster_ssl_connection_error", _OUT, "service"),
                    "{{service}} TLS failed",
                ),
            ),
            NONE_IS_GOOD,
            width=8,
        ),
        Lines(
            "At control planes",
            "What control planes refused a second for who asked, by port.",
            "ops",
            (
                (_turned_away("mesh_admin_refused_total", PLANE, "reason"), "admin API: {{reason}}"),
                (_turned_away("mesh_xds_refusals_total", PLANE, ""), "xDS"),
                (_turned_away("mesh_agent_denied_total", PLANE, ""), "agents"),
                (_turned_away("mesh_peer_denied_total", PLANE, ""), "peers"),
                (_turned_away("mesh_telemetry_refused_total", PLANE, ""), "telemetry"),
            ),
            NONE_IS_GOOD,
            width=8,
        ),
    ),
)

BOARD = Board(
    SECURITY,
    "Security",
    "The share of mutual TLS, certificates and their ends, and who was turned away.",
    (MUTUAL_TLS, CERTIFICATES, DENIALS),
    (chosen("service", "Service", 'label_values(up{job="meshwright-proxy"}, service)'),),
)
