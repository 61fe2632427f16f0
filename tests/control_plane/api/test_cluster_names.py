"""Names of Envoy clusters and their parts."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.cluster_names import (
    ADMIN,
    ClusterName,
    app_cluster,
    is_app_cluster,
    parse_cluster_name,
)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("orders", ClusterName("orders")),
        ("orders:grpc", ClusterName("orders", port="grpc")),
        ("orders/v2", ClusterName("orders", subset="v2")),
        ("orders:grpc/v2", ClusterName("orders", port="grpc", subset="v2")),
        ("/app/http", ClusterName("")),
        (ADMIN, ClusterName("")),
        ("", ClusterName("")),
    ],
)
def test_a_cluster_name_has_service_port_and_subset(name: str, parts: ClusterName) -> None:
    assert parse_cluster_name(name) == parts


def test_the_app_beside_the_sidecar_has_a_cluster_per_port() -> None:
    assert app_cluster("http") == "/app/http"
    assert is_app_cluster("/app/http")
    assert not is_app_cluster("orders")
    assert not is_app_cluster(ADMIN)
