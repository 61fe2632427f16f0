"""Clusters and endpoints whose ejected instances return by a trial."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.resource import CDS, EDS
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.envoy import codec
from tests.control_plane.core.worlds import (
    GRPC,
    HTTP,
    TCP,
    body,
    documents,
    instance,
    mesh,
    service,
    subset,
    world,
)

TO_BACK = "{kind: Service, name: back}"
PROBE = mesh("CircuitBreaker", "b", "openFor: 30s, halfOpen: probe", TO_BACK)


def given(text: str, path: str = "/health/ready%20now") -> World:
    back = replace(instance("back-1", 7, version="v2"), health_path=path)
    return world(
        service("back", back, ports=(HTTP, GRPC, TCP)), service("front"), policy_documents=documents(text)
    )


def resource(given_world: World, kind: str, name: str, caller: str = "front") -> Any:
    node = translate(given_world).snapshot.node(Identity("mesh.local", "service", caller), Bindings())
    resource_found = node.get(kind, name)
    assert resource_found is not None
    return body(resource_found)


def check_headers(cluster: Any) -> dict[str, str]:
    (check,) = cluster.health_checks
    return {entry.header.key: entry.header.value for entry in check.http_health_check.request_headers_to_add}


def test_the_check_of_each_cluster_says_when_and_how_to_try() -> None:
    text = PROBE + subset("back-v2", "back")
    common = {"x-mesh-open-for-ms": "30000"}
    expected = {
        # A percent sign is doubled: values are formats.
        "back": {"x-mesh-protocol": "http", "x-mesh-health-path": "/health/ready%%20now"},
        "back:grpc": {"x-mesh-protocol": "grpc"},
        "back:tcp": {"x-mesh-protocol": "tcp"},
        "back/back-v2": {"x-mesh-protocol": "http", "x-mesh-health-path": "/health/ready%%20now"},
    }
    for name, headers in expected.items():
        cluster = resource(given(text), CDS, name)
        assert check_headers(cluster) == {"x-mesh-trial-cluster": name, **common, **headers}


def test_requests_keep_mutual_tls_and_only_the_check_is_plain() -> None:
    cluster = codec.to_dict(resource(given(PROBE), CDS, "back"))
    assert cluster["transport_socket"]["name"] == "envoy.transport_sockets.tls"
    (match,) = cluster["transport_socket_matches"]
    assert match["match"] == cluster["health_checks"][0]["transport_socket_match_criteria"]
    assert match["transport_socket"]["name"] == "envoy.transport_sockets.raw_buffer"


def test_a_check_that_says_nothing_never_takes_an_instance_out() -> None:
    check = codec.to_dict(resource(given(PROBE), CDS, "back"))["health_checks"][0]
    assert check["unhealthy_threshold"] == 2**32 - 1
    assert check["http_health_check"]["retriable_statuses"] == [{"start": "503", "end": "504"}]


def test_checks_go_to_the_socket_of_the_callers_own_envoy() -> None:
    (group,) = resource(given(PROBE), EDS, "back").endpoints
    config = codec.to_dict(group.lb_endpoints[0].endpoint.health_check_config)
    assert config == {"hostname": "127.0.0.1:7", "address": {"pipe": {"path": "trial.sock"}}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        mesh("CircuitBreaker", "b", "openFor: 30s", TO_BACK),
        PROBE + mesh("HealthCheck", "h", "http: {path: /}", TO_BACK),
        mesh("CircuitBreaker", "b", "halfOpen: probe, from: [other]", TO_BACK),
    ],
    ids=["no breaker", "traffic", "probes of its own", "another caller"],
)
def test_without_a_trial_nothing_goes_to_the_agent(text: str) -> None:
    cluster = resource(given(text), CDS, "back")
    assert not any(check.http_health_check.path == "/hold" for check in cluster.health_checks)
    (group,) = resource(given(text), EDS, "back").endpoints
    assert not group.lb_endpoints[0].endpoint.HasField("health_check_config")


def test_a_changed_health_path_changes_the_cluster_in_the_next_translation() -> None:
    before = translate(given(PROBE))
    after = translate(given(PROBE, "/other"), before)
    node = after.snapshot.node(Identity("mesh.local", "service", "front"), Bindings())
    resource_found = node.get(CDS, "back")
    assert resource_found is not None
    assert check_headers(body(resource_found))["x-mesh-health-path"] == "/other"
