"""ExternalAuthorization: validation, where it is in force, and the filter's configuration."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.resource import RDS
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.externalauthorization.envoy import PLACE, ExternalAuthorizationHooks
from meshwright.control_plane.policies.externalauthorization.spec import ExternalAuthorizationSpec
from tests.control_plane.core.worlds import exchange, mesh, route

TARGET = {"targetRefs": [{"kind": "Service", "name": "inventory"}]}
HTTP = {"http": {"url": "http://authz/check/"}}
CLUSTERS = {"authz": "authz", "opa:9191": "opa:grpc"}


def spec(**fields: Any) -> ExternalAuthorizationSpec:
    return ExternalAuthorizationSpec.model_validate(TARGET | fields)


def patched(**fields: Any) -> list[v3.Route]:
    """The routes to the application under a policy `p`."""
    hooks = ExternalAuthorizationHooks(spec(**fields), "ExternalAuthorization/p", CLUSTERS)
    return hooks.patch_inbound_route(v3.Route(route=v3.RouteAction(cluster="/app/http")))


def filters(entry: v3.Route) -> dict[str, Any]:
    """The filters that a route brings along, by name."""
    config = v3.FilterChainConfigPerRoute()
    assert entry.typed_per_filter_config[PLACE].Unpack(config)
    return {item["name"]: item["typed_config"] for item in codec.to_dict(config)["filter_chain"]["filters"]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "neither http nor grpc is set"),
        ({**HTTP, "grpc": {"url": "http://opa:9191"}}, "not both"),
        ({"grpc": {"url": "http://opa:9191/check"}}, "has no path"),
        ({"http": {"url": "http://192.0.2.1"}}, "needs https://"),
        ({"http": {"url": "http://authz", "ca": "x"}}, "ca has no effect"),
        ({"grpc": {"url": "http://opa"}, "headersToClient": ["x-a"]}, "says itself which"),
        ({**HTTP, "from": ["orders"]}, "decides about every caller"),
        ({**HTTP, "headersToBackend": ["Host"]}, "cannot be set by an authorizer"),
        ({**HTTP, "headersToBackend": ["x-a", "X-A"]}, "occurs twice"),
        ({**HTTP, "headersToClient": ["Content-Length"]}, "is of one connection"),
        ({**HTTP, "headersToAuthorizer": ["transfer-encoding"]}, "is of one connection"),
        ({**HTTP, "timeout": "0s"}, "greater than or equal to"),
        ({**HTTP, "body": {"maxBytes": 2**30}}, "less than or equal to"),
    ],
)
def test_mistakes_are_refused_with_advice(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(**fields)


def test_http_authorizer_is_asked_on_its_cluster_behind_a_filter_against_forgery() -> None:
    (entry,) = patched(**HTTP, headersToBackend=["X-User"], onFailure="allow", timeout="250ms")
    removal, check = filters(entry).values()
    (mutation,) = removal["mutations"]["request_mutations"]
    assert mutation["remove_on_match"]["key_matcher"]["safe_regex"]["regex"] == "x[-_]user"
    service = check["http_service"]
    assert service["server_uri"] == {
        "uri": "http://authz/check/", "cluster": "authz", "timeout": "0.250s"
    }  # fmt: skip
    assert service["path_prefix"] == "/check"
    assert check["failure_mode_allow"]
    assert codec.to_dict(entry.metadata)["filter_metadata"]["meshwright"] == {
        "authorizers": ["ExternalAuthorization/p"]
    }


def test_grpc_authorizer_may_set_only_the_headers_of_the_policy() -> None:
    (entry,) = patched(grpc={"url": "http://opa:9191"}, headersToBackend=["x-user", "x-role"])
    check = filters(entry)["ExternalAuthorization/p"]
    assert check["grpc_service"]["envoy_grpc"] == {"cluster_name": "opa:grpc", "authority": "opa:9191"}
    rules = check["decoder_header_mutation_rules"]
    assert (rules["disallow_all"], rules["allow_expression"]["regex"]) == (True, r"x\-user|x\-role")


def test_exceptions_are_routes_of_their_own_that_ask_nobody() -> None:
    exempt, protected = patched(**HTTP, exceptions=[{"path": "/health"}], headersToBackend=["x-user"])
    assert list(filters(exempt)) == ["ExternalAuthorization/p/headers"]
    assert [matcher.name for matcher in exempt.match.headers] == [":path"]
    assert "ExternalAuthorization/p" in filters(protected)


def test_redirects_ask_nobody() -> None:
    hooks = ExternalAuthorizationHooks(spec(**HTTP), "ExternalAuthorization/p", CLUSTERS)
    redirect = v3.Route(redirect=v3.RedirectAction(path_redirect="/new"))
    assert hooks.patch_gateway_route(redirect) == [redirect]


def test_service_target_is_in_force_at_the_service_and_requires_the_authorizers_cluster() -> None:
    policy = mesh(
        "ExternalAuthorization", "p", "http: {url: http://orders}", "{kind: Service, name: inventory}"
    )
    public = route("shop", "{backendRefs: [{name: inventory}]}", "{name: ingress}")
    snapshot = translate(exchange(policy + public)).snapshot
    bindings = Bindings(outbound=11, inbound=12, gateway=(("http", 13),))
    node = snapshot.node(Identity("mesh.local", "service", "inventory"), bindings)
    inbound = node.get(RDS, "in")
    assert inbound is not None
    assert inbound.required_clusters == ("orders",)
    assert inbound.policies == ("ExternalAuthorization/p",)
    ingress = snapshot.node(Identity("mesh.local", "gateway", "ingress"), bindings)
    public_routes = ingress.get(RDS, "ingress")
    assert public_routes is not None
    assert public_routes.policies == ("HTTPRoute/shop",)


def test_outside_authorizer_gets_a_cluster_with_http2_for_grpc() -> None:
    hooks = ExternalAuthorizationHooks(
        spec(grpc={"url": "https://opa.example.com"}), "ExternalAuthorization/p"
    )
    (cluster,) = hooks.outside_clusters()
    assert hooks.dependencies() == (cluster.name,) == ("/outside/https/opa.example.com:443/h2",)
    assert (
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" in cluster.typed_extension_protocol_options
    )
    assert not hooks.mesh_hosts()
