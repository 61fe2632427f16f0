"""Scrape targets for Prometheus: each endpoint once, with labels that identify it."""

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


def test_proxy_agent_and_app_of_a_sidecar_are_separate_targets() -> None:
    groups = list(target_groups(["10.0.0.1:15080"], [report("orders-1", "10.0.0.2:15020", app=True)]))
    assert [group.targets for group in groups] == [("10.0.0.1:15080",), *[("10.0.0.2:15020",)] * 3]
    assert groups[0].labels == {"job": CONTROL_PLANE}
    labels = {group.labels["job"]: group.labels for group in groups[1:]}
    assert labels.keys() == {PROXY, AGENT, APP}
    assert {group["service"] for group in labels.values()} == {"orders"}
    assert {group["instance"] for group in labels.values()} == {"orders-1"}
    paths = {job: group["__metrics_path__"] for job, group in labels.items()}
    assert paths == {PROXY: "/stats/prometheus", AGENT: "/agent/metrics", APP: "/app/metrics"}
    assert "__param_usedonly" in labels[PROXY]


def test_apps_without_metrics_and_agents_without_an_endpoint_are_omitted() -> None:
    reports = [report("orders-1", "h:1"), report("old-1", "")]
    assert [group.labels["job"] for group in target_groups([], reports)] == [PROXY, AGENT]


def test_the_order_does_not_depend_on_the_order_of_reports() -> None:
    reports = [report("b-2", "h:3"), report("a-1", "h:1"), report("b-1", "h:2")]
    groups = list(target_groups(["z:1", "a:1"], reports))
    assert groups == list(target_groups(["a:1", "z:1"], reversed(reports)))


def test_the_response_is_a_json_array() -> None:
    text = ScrapeTargetList(tuple(target_groups(["a:1"], []))).model_dump_json()
    assert text == '[{"targets":["a:1"],"labels":{"job":"meshwright-control-plane"}}]'
