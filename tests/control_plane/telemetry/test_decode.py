"""Names of metrics → which cluster, which statistic: as Envoys with and without a tag for it tell them."""

from __future__ import annotations

import pytest

from meshwright.control_plane.telemetry.ingest.envoy_stats import INBOUND, cluster_and_stat

CLUSTER = "envoy.cluster_name"
CODE = "envoy.response_code_class"


@pytest.mark.parametrize(
    ("name", "attributes", "found"),
    [
        ("cluster.grpc", {CLUSTER: "orders_grpc", "mesh.grpc_status": "14"}, ("orders:grpc", "grpc.14")),
        ("cluster.grpc.14", {CLUSTER: "orders_grpc"}, ("orders:grpc", "grpc.14")),
        ("cluster.orders_grpc/v2.grpc.14", {}, ("orders:grpc/v2", "grpc.14")),
        ("cluster.upstream_rq_xx", {CLUSTER: "orders", CODE: "5"}, ("orders", "upstream_rq_5xx")),
        ("cluster.orders.upstream_rq_5xx", {}, ("orders", "upstream_rq_5xx")),
        ("mesh.injected", {CLUSTER: "orders", "envoy.response_code": "503"}, ("orders", "injected.503")),
        (
            "http.downstream_rq_xx",
            {"envoy.http_conn_manager_prefix": "inbound", CODE: "5"},
            (INBOUND, "downstream_rq_5xx"),
        ),
        ("server.uptime", {}, None),
    ],
)
def test_a_statistic_is_read_by_its_name_and_attributes(
    name: str, attributes: dict[str, str], found: tuple[str, str] | None
) -> None:
    assert cluster_and_stat(name, attributes) == found
