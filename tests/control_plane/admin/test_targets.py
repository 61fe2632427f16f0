"""What Prometheus is told to scrape: each thing once, by names that say what it is."""

from __future__ import annotations

from meshwright.control_plane.admin.routers.prometheus_sd import (
    AGENT,
    APP,
    CONTROL_PLANE,
    PROXY,
    target_groups,
)
from meshwright.control_plane.api.models.prometheus import ScrapeTargetList
from meshwright.control_plane.api.models.proxies import ProxyReport


def report(node: str, metrics: str, *, app: bool = False) -> ProxyReport:
    return ProxyReport(node=node, service=node.rpartition("-")[0], metrics=metrics, app_metrics=app)


def test_each_part_of_a_sidecar_is_a_target_of_its_own() -> None:
    found = list(target_groups(["10.0.0.1:15080"], [report("orders-1", "10.0.0.2:15020", app=True)]))
    assert [one.targets for one in found] == [("10.0.0.1:15080",), *[("10.0.0.2:15020",)] * 3]
    assert found[0].labels == {"job": CONTROL_PLANE}
    told = {one.labels["job"]: one.labels for one in found[1:]}
    assert told.keys() == {PROXY, AGENT, APP}
    assert {one["service"] for one in told.values()} == {"orders"}
    assert {one["instance"] for one in told.values()} == {"orders-1"}
    paths = {job: one["__metrics_path__"] for job, one in told.items()}
    assert paths == {PROXY: "/stats/prometheus", AGENT: "/agent/metrics", APP: "/app/metrics"}
    assert "__param_usedonly" in told[PROXY]


def test_an_app_without_metrics_and_an_agent_of_old_are_left_out() -> None:
    jobs = [one.labels["job"] for one in target_groups([], [report("orders-1", "h:1"), report("old-1", "")])]
    assert jobs == [PROXY, AGENT]


def test_the_order_is_the_same_however_they_are_told() -> None:
    reports = [report("b-2", "h:3"), report("a-1", "h:1"), report("b-1", "h:2")]
    told = list(target_groups(["z:1", "a:1"], reports))
    assert told == list(target_groups(["a:1", "z:1"], reversed(reports)))


def test_it_is_a_json_array() -> None:
    text = ScrapeTargetList(tuple(target_groups(["a:1"], []))).model_dump_json()
    assert text == '[{"targets":["a:1"],"labels":{"job":"meshwright-control-plane"}}]'
