"""ConnectionPoolHooks on Envoy's clusters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.connectionpool.envoy import OPTIONS, ConnectionPoolHooks
from meshwright.control_plane.policies.connectionpool.spec import ConnectionPoolSpec


def pool(**spec: Any) -> ConnectionPoolHooks:
    return ConnectionPoolHooks(ConnectionPoolSpec.model_validate(spec))


def http_cluster() -> v3.Cluster:
    result = v3.Cluster(name="orders", connect_timeout=timedelta(seconds=1))
    options = v3.HttpProtocolOptions()
    options.explicit_http_config.http2_protocol_options.allow_connect = True
    result.typed_extension_protocol_options[OPTIONS].CopyFrom(codec.pack(options))
    return result


def test_patch_cluster_sets_every_option() -> None:
    cluster = http_cluster()
    pool(
        connectTimeout="250ms",
        idleTimeout="5m",
        maxRequestsPerConnection=1000,
        maxConcurrentStreams=100,
        tcpKeepalive={"time": "60s", "interval": "5s", "probes": 4},
    ).patch_cluster(cluster)
    config = codec.to_dict(cluster)
    options = config["typed_extension_protocol_options"][OPTIONS]
    assert config["connect_timeout"] == "0.250s"
    assert config["upstream_connection_options"]["tcp_keepalive"] == {
        "keepalive_probes": 4,
        "keepalive_time": 60,
        "keepalive_interval": 5,
    }
    assert options["common_http_protocol_options"] == {
        "idle_timeout": "300s",
        "max_requests_per_connection": 1000,
    }
    assert options["explicit_http_config"]["http2_protocol_options"] == {
        "max_concurrent_streams": 100,
        "allow_connect": True,
    }


def test_patch_cluster_empty_spec_changes_nothing() -> None:
    cluster = http_cluster()
    before = codec.encode(cluster)
    pool().patch_cluster(cluster)
    assert codec.encode(cluster) == before


def test_patch_cluster_tcp_port_gets_no_http_options() -> None:
    cluster = v3.Cluster(name="db:postgres")
    pool(idleTimeout="5m", connectTimeout="2s").patch_cluster(cluster)
    assert codec.to_dict(cluster) == {"name": "db:postgres", "connect_timeout": "2s"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"connectTimeout": "0s"}, "no time at all"),
        ({"idleTimeout": "0s"}, "no time at all"),
        ({"maxConcurrentStreams": 0}, "greater than or equal to 1"),
        ({"tcpKeepalive": {"time": "500ms"}}, "whole seconds"),
        ({"tcpKeepalive": {"interval": "1500ms"}}, "whole seconds"),
    ],
)
def test_invalid_spec_is_rejected(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        pool(**spec)
