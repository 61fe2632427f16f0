"""Envoy's statistics become a proxy report, sent when something has changed."""

from __future__ import annotations

import re

import pytest

from meshwright.control_plane.api.models.proxies import ClusterReport, ProxyReport
from meshwright.sidecar.envoy_admin import count_active
from meshwright.sidecar.envoy_stats import (
    HEARTBEAT_INTERVAL,
    MAX_CLUSTERS,
    STATS_PATTERN,
    ejected_hosts,
    envoy_uptime,
    envoy_version,
    parse_stats,
    should_send,
    split_active,
    with_addresses,
)

TEXT = """\
cluster./blackhole.membership_total: 0
cluster./app/http.membership_total: 1
cluster./app/http.upstream_rq_pending_overflow: 9
cluster.back.circuit_breakers.default.rq_open: 0
cluster.back.membership_total: 2
cluster.back.outlier_detection.ejections_active: 1
cluster.back.outlier_detection.ejections_enforced_total: 4
cluster.back.upstream_rq_pending_overflow: 5
cluster.back/v2.membership_total: 1
cluster.pay_grpc.circuit_breakers.default.rq_pending_open: 1
cluster.pay_grpc.membership_total: 3
cluster./xds.membership_total: 1
control_plane.connected_state: 1
server.memory_physical_size: 13560638
"""


def test_limited_and_ejected_clusters_come_first_without_those_of_the_bootstrap() -> None:
    snapshot = parse_stats(TEXT, None)
    assert (snapshot.memory, snapshot.connected, snapshot.has_ejections) == (13560638, True, True)
    assert snapshot.clusters == (
        ClusterReport(cluster="back", hosts=2, ejected=1),
        ClusterReport(cluster="pay:grpc", hosts=3, limited=True),
        ClusterReport(cluster="back/v2", hosts=1),
    )


def test_pattern_matches_every_line_and_nothing_else() -> None:
    assert all(re.fullmatch(STATS_PATTERN, line.rpartition(": ")[0]) for line in TEXT.splitlines())
    for name in (
        "cluster.back.upstream_rq_total",
        "cluster.back.circuit_breakers.high.rq_open",
        "server.live",
    ):
        assert not re.fullmatch(STATS_PATTERN, name)


def test_overflow_since_the_previous_snapshot_counts_as_limited() -> None:
    text = TEXT.replace("pending_overflow: 5", "pending_overflow: 6")
    first = parse_stats(TEXT, None)
    second = parse_stats(text, first)
    assert [cluster.cluster for cluster in second.clusters if cluster.limited] == ["back", "pay:grpc"]
    third = parse_stats(text, second)
    assert [cluster.cluster for cluster in third.clusters if cluster.limited] == ["pay:grpc"]


def test_unexpected_text_is_rejected() -> None:
    with pytest.raises(ValueError, match="int"):
        parse_stats("<html>: no", None)


def test_clusters_over_the_limit_are_dropped_but_not_ejected_ones() -> None:
    lines = [f"cluster.s{number}.membership_total: 1" for number in range(MAX_CLUSTERS + 5)]
    lines.append("cluster.z.outlier_detection.ejections_active: 1")
    clusters = parse_stats("\n".join(lines), None).clusters
    assert len(clusters) == MAX_CLUSTERS
    assert clusters[0].cluster == "z"
    ProxyReport(node="a", service="a", clusters=clusters)


def test_ejected_hosts_are_listed_by_cluster() -> None:
    def host(port: int, **health: bool) -> dict[str, object]:
        return {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "health_status": {"eds_health_status": "HEALTHY", **health},
        }

    response = {
        "cluster_statuses": [
            {"name": "back", "host_statuses": [host(1, failed_outlier_check=True), host(2)]},
            {"name": "front", "host_statuses": [host(3, failed_active_health_check=True)]},
            {"name": "empty"},
        ]
    }
    ejected = ejected_hosts(response)
    assert ejected == {"back": ("127.0.0.1:1",)}
    clusters = with_addresses(parse_stats(TEXT, None).clusters, ejected)
    assert [cluster.ejected_addresses for cluster in clusters] == [("127.0.0.1:1",), (), ()]


def test_server_info_may_lack_version_and_uptime() -> None:
    info = {"version": "9e55/1.40.0/Clean/RELEASE/BoringSSL", "uptime_current_epoch": "55s"}
    assert (envoy_version(info), envoy_uptime(info)) == ("1.40.0", 55.0)
    assert (envoy_version({}), envoy_uptime({})) == ("", 0.0)


def test_changes_are_sent_at_once_and_heartbeats_in_time() -> None:
    last = ProxyReport(node="a", service="a", memory=1, uptime=1, expires=10)
    unchanged = last.model_copy(update={"memory": 2, "uptime": 2.0, "open_streams": 5})
    assert should_send(None, last, 0)
    assert not should_send(last, unchanged, 1.0)
    assert should_send(last, unchanged, HEARTBEAT_INTERVAL)
    for change in ({"expires": 20.0}, {"connected": True}, {"clusters": (ClusterReport(cluster="b"),)}):
        assert should_send(last, unchanged.model_copy(update=change), 0.1)


ACTIVE = """\
cluster./agent.upstream_rq_active: 10
cluster./app/http.upstream_rq_active: 1
cluster./connect.upstream_cx_active: 1
http.admin.downstream_rq_active: 1
http.inbound.downstream_rq_active: 1
http.outbound.downstream_rq_active: 4
http.ready.downstream_rq_active: 1
http.trial.downstream_rq_active: 10
"""


def test_requests_of_the_app_are_in_flight_and_not_envoys_own_nor_tunnels() -> None:
    assert count_active(ACTIVE) == 1 + 4 - 1
    assert count_active(ACTIVE, include_outbound=False) == 1


def test_streams_in_progress_are_counted_apart_from_what_is_parsed() -> None:
    matched = [line for line in ACTIVE.splitlines() if re.fullmatch(STATS_PATTERN, line.rpartition(": ")[0])]
    assert split_active("\n".join([*matched, *TEXT.splitlines()]) + "\n") == (TEXT, 1 + 4 - 1)
    assert split_active(TEXT) == (TEXT, 0)
