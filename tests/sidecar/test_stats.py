"""A proxy's statistics become a report: what is counted, what is left out, when it is news."""

from __future__ import annotations

import re

import pytest

from meshwright.control_plane.api.models.base import ClusterReport, ProxyReport
from meshwright.sidecar import envoy_stats

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


def test_what_is_not_well_comes_first_and_the_bootstraps_own_is_left_out() -> None:
    reading = envoy_stats.parse_stats(TEXT, None)
    assert (reading.memory, reading.connected, reading.has_ejections) == (13560638, True, True)
    assert reading.clusters == (
        ClusterReport(cluster="back", hosts=2, ejected=1),
        ClusterReport(cluster="pay:grpc", hosts=3, limited=True),
        ClusterReport(cluster="back/v2", hosts=1),
    )


def test_every_line_is_one_that_was_asked_for() -> None:
    assert all(
        re.fullmatch(envoy_stats.STATS_PATTERN, line.rpartition(": ")[0]) for line in TEXT.splitlines()
    )
    for name in (
        "cluster.back.upstream_rq_total",
        "cluster.back.circuit_breakers.high.rq_open",
        "server.live",
    ):
        assert not re.fullmatch(envoy_stats.STATS_PATTERN, name)


def test_a_limit_that_refused_since_the_last_look_is_reached() -> None:
    first = envoy_stats.parse_stats(TEXT, None)
    later = envoy_stats.parse_stats(TEXT.replace("pending_overflow: 5", "pending_overflow: 6"), first)
    assert [one.cluster for one in later.clusters if one.limited] == ["back", "pay:grpc"]
    quiet = envoy_stats.parse_stats(TEXT.replace("pending_overflow: 5", "pending_overflow: 6"), later)
    assert [one.cluster for one in quiet.clusters if one.limited] == ["pay:grpc"]


def test_something_else_is_no_reading() -> None:
    with pytest.raises(ValueError, match="int"):
        envoy_stats.parse_stats("<html>: no", None)


def test_a_report_names_no_more_than_its_limit_and_keeps_what_is_unwell() -> None:
    lines = [f"cluster.s{number}.membership_total: 1" for number in range(envoy_stats.MAX_CLUSTERS + 5)]
    lines.append("cluster.z.outlier_detection.ejections_active: 1")
    clusters = envoy_stats.parse_stats("\n".join(lines), None).clusters
    assert len(clusters) == envoy_stats.MAX_CLUSTERS
    assert clusters[0].cluster == "z"
    ProxyReport(node="a", service="a", clusters=clusters)


def test_ejected_hosts_are_named() -> None:
    def host(port: int, **health: bool) -> dict[str, object]:
        return {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "health_status": {"eds_health_status": "HEALTHY", **health},
        }

    answer = {
        "cluster_statuses": [
            {"name": "back", "host_statuses": [host(1, failed_outlier_check=True), host(2)]},
            {"name": "front", "host_statuses": [host(3, failed_active_health_check=True)]},
            {"name": "empty"},
        ]
    }
    ejected = envoy_stats.ejected_hosts(answer)
    assert ejected == {"back": ("127.0.0.1:1",)}
    named = envoy_stats.with_addresses(envoy_stats.parse_stats(TEXT, None).clusters, ejected)
    assert [one.ejected_addresses for one in named] == [("127.0.0.1:1",), (), ()]


def test_server_info_is_read_leniently() -> None:
    info = {"version": "9e55/1.40.0/Clean/RELEASE/BoringSSL", "uptime_current_epoch": "55s"}
    assert (envoy_stats.envoy_version(info), envoy_stats.envoy_uptime(info)) == ("1.40.0", 55.0)
    assert (envoy_stats.envoy_version({}), envoy_stats.envoy_uptime({})) == ("", 0.0)


def test_news_is_sent_at_once_and_a_sign_of_life_in_time() -> None:
    last = ProxyReport(node="a", service="a", memory=1, uptime=1, expires=10)
    same = last.model_copy(update={"memory": 2, "uptime": 2.0})
    assert envoy_stats.should_send(None, last, 0)
    assert not envoy_stats.should_send(last, same, 1.0)
    assert envoy_stats.should_send(last, same, envoy_stats.HEARTBEAT_INTERVAL)
    for news in ({"expires": 20.0}, {"connected": True}, {"clusters": (ClusterReport(cluster="b"),)}):
        assert envoy_stats.should_send(last, same.model_copy(update=news), 0.1)
