"""LoadBalancer on Envoy's clusters and routes, and what it says of endpoints."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.base import EndpointWeights, TargetRef
from meshwright.control_plane.policies.loadbalancer.spec import LoadBalancerSpec

BY_USER = {"header": "X-User"}


def balancer(**spec: Any) -> LoadBalancerSpec:
    return LoadBalancerSpec.model_validate(spec)


def algorithm(**spec: Any) -> dict[str, Any]:
    cluster = v3.Cluster(name="orders", lb_policy=v3.Cluster.LEAST_REQUEST)
    balancer(**spec).patch_cluster(cluster)
    made = codec.to_dict(cluster)
    assert "lb_policy" not in made
    (policy,) = made["load_balancing_policy"]["policies"]
    found: dict[str, Any] = policy["typed_extension_config"]["typed_config"]
    return found


@pytest.mark.parametrize(
    ("spec", "type_name"),
    [
        ({"algorithm": "RoundRobin"}, "round_robin.v3.RoundRobin"),
        ({"algorithm": "Random"}, "random.v3.Random"),
        ({"algorithm": "RingHash", "hashOn": BY_USER}, "ring_hash.v3.RingHash"),
        ({"algorithm": "Maglev", "hashOn": BY_USER}, "maglev.v3.Maglev"),
    ],
)
def test_each_algorithm_is_an_extension(spec: dict[str, Any], type_name: str) -> None:
    url = f"type.googleapis.com/envoy.extensions.load_balancing_policies.{type_name}"
    assert algorithm(**spec) == {"@type": url}


@pytest.mark.parametrize("name", ["RoundRobin", "LeastRequest"])
def test_slow_start(name: str) -> None:
    made = algorithm(algorithm=name, slowStart={"window": "30s"})
    assert made["slow_start_config"] == {"slow_start_window": "30s"}


def test_weights_and_zones_leave_the_cluster_as_it_is() -> None:
    cluster = v3.Cluster(lb_policy=v3.Cluster.LEAST_REQUEST)
    before = codec.encode(cluster)
    spec = balancer(weights=[{"labels": {"version": "v2"}, "weight": 3}], locality={"prefer": "Zone"})
    spec.patch_cluster(cluster)
    assert codec.encode(cluster) == before
    assert spec.endpoint_weights() == EndpointWeights((((("version", "v2"),), 3),), prefer_local_zone=True)
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
def test_what_is_hashed_is_said_on_the_route(hash_on: dict[str, Any], policy: dict[str, Any]) -> None:
    route = v3.Route(route=v3.RouteAction(cluster="orders"))
    (made,) = balancer(algorithm="Maglev", hashOn=hash_on).patch_route(route)
    assert codec.to_dict(made.route)["hash_policy"] == [policy]


def test_a_redirect_hashes_nothing() -> None:
    route = v3.Route(redirect=v3.RedirectAction(path_redirect="/new"))
    (made,) = balancer(algorithm="Maglev", hashOn=BY_USER).patch_route(route)
    assert made.WhichOneof("action") == "redirect"


def test_the_source_address_behind_a_sidecar_has_no_effect() -> None:
    service = TargetRef(kind="Service", name="orders")
    on_address = {"algorithm": "Maglev", "hashOn": {"sourceIP": True}}
    assert "loopback" in balancer(**on_address).inapplicable_reason(service)
    assert balancer(**on_address, **{"from": ["ingress"]}).inapplicable_reason(service) == ""
    assert balancer(algorithm="Maglev", hashOn=BY_USER).inapplicable_reason(service) == ""


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"algorithm": "RingHash"}, "give hashOn"),
        ({"algorithm": "Maglev"}, "give hashOn"),
        ({"algorithm": "RoundRobin", "hashOn": BY_USER}, "does not hash"),
        ({"hashOn": BY_USER}, "does not hash"),
        ({"algorithm": "Maglev", "hashOn": {}}, "give one of"),
        ({"algorithm": "Maglev", "hashOn": {**BY_USER, "sourceIP": True}}, "give one of"),
        ({"algorithm": "Maglev", "hashOn": {"sourceIP": False}}, "give one of"),
        ({"algorithm": "Maglev", "hashOn": BY_USER, "slowStart": {"window": "9s"}}, "no slow start"),
        ({"algorithm": "Random", "slowStart": {"window": "9s"}}, "no slow start"),
        ({"algorithm": "Random", "weights": [{"labels": {"a": "b"}, "weight": 2}]}, "knows no weights"),
        ({"slowStart": {"window": "10ms"}}, "at least 1s"),
        ({"weights": [{"labels": {}, "weight": 2}]}, "at least 1"),
        ({"weights": [{"labels": {"a": "b"}, "weight": 0}]}, "greater than or equal to 1"),
        ({"locality": {"prefer": "Region"}}, "'Zone'"),
    ],
)
def test_what_makes_no_sense_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        balancer(**spec)
