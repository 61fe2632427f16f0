"""LoadBalancerHooks on Envoy's clusters, routes and endpoints."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.base import TargetRef
from meshwright.control_plane.policies.hooks import EndpointWeights
from meshwright.control_plane.policies.loadbalancer.envoy import LoadBalancerHooks
from meshwright.control_plane.policies.loadbalancer.spec import LoadBalancerSpec

BY_USER = {"header": "X-User"}


def balancer(**spec: Any) -> LoadBalancerHooks:
    return LoadBalancerHooks(LoadBalancerSpec.model_validate(spec))


def algorithm(**spec: Any) -> dict[str, Any]:
    cluster = v3.Cluster(name="orders", lb_policy=v3.Cluster.LEAST_REQUEST)
    balancer(**spec).patch_cluster(cluster)
    config = codec.to_dict(cluster)
    assert "lb_policy" not in config
    (policy,) = config["load_balancing_policy"]["policies"]
    extension: dict[str, Any] = policy["typed_extension_config"]["typed_config"]
    return extension


@pytest.mark.parametrize(
    ("spec", "type_name"),
    [
        ({"algorithm": "RoundRobin"}, "round_robin.v3.RoundRobin"),
        ({"algorithm": "Random"}, "random.v3.Random"),
        ({"algorithm": "RingHash", "hashOn": BY_USER}, "ring_hash.v3.RingHash"),
        ({"algorithm": "Maglev", "hashOn": BY_USER}, "maglev.v3.Maglev"),
    ],
)
def test_patch_cluster_sets_the_algorithms_extension(spec: dict[str, Any], type_name: str) -> None:
    url = f"type.googleapis.com/envoy.extensions.load_balancing_policies.{type_name}"
    assert algorithm(**spec) == {"@type": url}


@pytest.mark.parametrize("name", ["RoundRobin", "LeastRequest"])
def test_patch_cluster_sets_slow_start(name: str) -> None:
    extension = algorithm(algorithm=name, slowStart={"window": "30s"})
    assert extension["slow_start_config"] == {"slow_start_window": "30s"}


def test_weights_and_locality_leave_the_cluster_unchanged() -> None:
    cluster = v3.Cluster(lb_policy=v3.Cluster.LEAST_REQUEST)
    before = codec.encode(cluster)
    hooks = balancer(weights=[{"labels": {"version": "v2"}, "weight": 3}], locality={"prefer": "Zone"})
    hooks.patch_cluster(cluster)
    assert codec.encode(cluster) == before
    assert hooks.endpoint_weights() == EndpointWeights((((("version", "v2"),), 3),), prefer_local_zone=True)
    assert balancer(algorithm="RoundRobin").endpoint_weights() is None


@pytest.mark.parametrize(
    ("hash_on", "policy"),
    [
        (BY_USER, {"header": {"header_name": "x-user"}}),
        ({"cookie": {"name": "sid"}}, {"cookie": {"name": "sid"}}),
        (
            {"cookie": {"name": "sid", "ttl": "1h"}},
            {"cookie": {"name": "sid", "ttl": "3600s", "path": "/"}},
        ),
        ({"cookie": {"name": "sid", "ttl": "0s"}}, {"cookie": {"name": "sid", "ttl": "0s", "path": "/"}}),
        ({"sourceIP": True}, {"connection_properties": {"source_ip": True}}),
    ],
)
def test_patch_route_sets_the_hash_policy(hash_on: dict[str, Any], policy: dict[str, Any]) -> None:
    route = v3.Route(route=v3.RouteAction(cluster="orders"))
    (patched,) = balancer(algorithm="Maglev", hashOn=hash_on).patch_route(route)
    assert codec.to_dict(patched.route)["hash_policy"] == [policy]


def test_patch_route_leaves_redirects_unchanged() -> None:
    route = v3.Route(redirect=v3.RedirectAction(path_redirect="/new"))
    (patched,) = balancer(algorithm="Maglev", hashOn=BY_USER).patch_route(route)
    assert patched.WhichOneof("action") == "redirect"


def test_inapplicable_reason_source_ip_behind_a_sidecar() -> None:
    service = TargetRef(kind="Service", name="orders")
    on_address = {"algorithm": "Maglev", "hashOn": {"sourceIP": True}}
    assert "loopback" in balancer(**on_address).spec.inapplicable_reason(service)
    assert balancer(**on_address, **{"from": ["ingress"]}).spec.inapplicable_reason(service) == ""
    assert balancer(algorithm="Maglev", hashOn=BY_USER).spec.inapplicable_reason(service) == ""


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"algorithm": "RingHash"}, "set hashOn"),
        ({"algorithm": "Maglev"}, "set hashOn"),
        ({"algorithm": "RoundRobin", "hashOn": BY_USER}, "does not hash"),
        ({"hashOn": BY_USER}, "does not hash"),
        ({"algorithm": "Maglev", "hashOn": {}}, "set one of"),
        ({"algorithm": "Maglev", "hashOn": {**BY_USER, "sourceIP": True}}, "set one of"),
        ({"algorithm": "Maglev", "hashOn": {"sourceIP": False}}, "set one of"),
        ({"algorithm": "Maglev", "hashOn": BY_USER, "slowStart": {"window": "9s"}}, "no slow start"),
        ({"algorithm": "Random", "slowStart": {"window": "9s"}}, "no slow start"),
        ({"algorithm": "Random", "weights": [{"labels": {"a": "b"}, "weight": 2}]}, "ignores weights"),
        ({"slowStart": {"window": "10ms"}}, "at least 1s"),
        ({"weights": [{"labels": {}, "weight": 2}]}, "at least 1"),
        ({"weights": [{"labels": {"a": "b"}, "weight": 0}]}, "greater than or equal to 1"),
        ({"locality": {"prefer": "Region"}}, "'Zone'"),
    ],
)
def test_invalid_spec_is_rejected(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        balancer(**spec)
