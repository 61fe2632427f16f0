"""Responses of Envoy's admin interface become results of commands."""

from __future__ import annotations

import json

import pytest

from meshwright.control_plane.api.models.commands import ProxyConfig
from meshwright.sidecar import command_results
from meshwright.sidecar.command_results import (
    changed_levels,
    config_json,
    most_common_level,
    parse_log_levels,
    parse_stats,
)

KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"
DUMP = {
    "configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "static_clusters": []},
        {"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "note": [KEY]},
        {
            "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
            "secret": {"private_key": {"inline_string": "secret"}, "name": "identity"},
        },
    ]
}


def test_stats_are_numbers_or_text_and_truncated_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "cluster.a.rq: 12\ncluster.a.time: P0(nan,1) P25(nan,1.02)\nno statistic\nb: 3"
    result = parse_stats("orders-1", text)
    assert result.stats == {"cluster.a.rq": 12, "cluster.a.time": "P0(nan,1) P25(nan,1.02)", "b": 3}
    assert not result.truncated
    monkeypatch.setattr(command_results, "MAX_STATS", 1)
    limited = parse_stats("orders-1", text)
    assert (limited.stats, limited.truncated) == ({"cluster.a.rq": 12}, True)


def test_log_levels_are_parsed_and_compared() -> None:
    levels = parse_log_levels("active loggers:\n  admin: warning\n  http: debug\n  conn_handler: warning\n\n")
    assert levels == {"admin": "warning", "http": "debug", "conn_handler": "warning"}
    assert most_common_level(levels) == "warning"
    original = {"admin": "warning", "http": "warning", "gone": "info"}
    assert changed_levels(original, levels) == {"http": "warning"}
    with pytest.raises(ValueError, match="no loggers"):
        parse_log_levels("404")


def test_configuration_has_one_section_or_all_and_no_keys() -> None:
    text = config_json("orders-1", json.dumps(DUMP), "{}", None)
    assert "secret\\n" not in text
    assert "PRIVATE KEY" not in text
    configs = ProxyConfig.model_validate_json(text).configs
    assert configs[0] == DUMP["configs"][0]
    assert configs[1]["note"] == ["[redacted]"]
    assert configs[2]["secret"] == {"private_key": "[redacted]", "name": "identity"}
    section = ProxyConfig.model_validate_json(config_json("orders-1", json.dumps(DUMP), "{}", "clusters"))
    assert section.configs == (DUMP["configs"][0],)


def test_endpoints_are_those_of_the_clusters_by_priority_and_locality() -> None:
    def host(port: int, **fields: object) -> dict[str, object]:
        return {"address": {"socket_address": {"address": "10.0.0.1", "port_value": port}}, **fields}

    hosts = [
        host(1, weight=3, health_status={"eds_health_status": "HEALTHY"}, locality={"zone": "a"}),
        host(2, health_status={"eds_health_status": "HEALTHY", "failed_outlier_check": True}, priority=1),
        host(3, locality={"zone": "a"}),
    ]
    statuses = [
        {"name": "orders", "added_via_api": True, "host_statuses": hosts},
        {"name": "/xds", "host_statuses": [host(4)]},
    ]
    clusters = json.dumps({"cluster_statuses": statuses})
    (dump,) = json.loads(config_json("front-1", json.dumps(DUMP), clusters, "endpoints"))["configs"]
    (orders,) = dump["dynamic_endpoint_configs"]
    near, far = orders["endpoint_config"]["endpoints"]
    assert (near["locality"], near["priority"], far["priority"]) == ({"zone": "a"}, 0, 1)
    assert [each["load_balancing_weight"] for each in near["lb_endpoints"]] == [3, 1]
    assert [each["health_status"] for each in near["lb_endpoints"]] == ["HEALTHY", "UNKNOWN"]
    assert [each["health_status"] for each in far["lb_endpoints"]] == ["UNHEALTHY"]
    assert dump["static_endpoint_configs"][0]["endpoint_config"]["cluster_name"] == "/xds"
