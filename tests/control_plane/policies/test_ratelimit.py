"""RateLimit: validation, and the configuration of the filters and the routes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.core import shared_filters
from meshwright.control_plane.core.resource import RDS, Resource
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.base import TargetRef
from meshwright.control_plane.policies.ratelimit.envoy import RateLimitHooks
from meshwright.control_plane.policies.ratelimit.local_filter import LOCAL, LOCAL_AUDIT
from meshwright.control_plane.policies.ratelimit.spec import RateLimitSpec
from tests.control_plane.core.worlds import exchange, mesh, route

INVENTORY = {"targetRefs": [{"kind": "Service", "name": "inventory"}]}
SERVICE, INGRESS = "{kind: Service, name: inventory}", "{kind: Gateway, name: ingress}"
HUNDRED = {"requests": 100, "per": "1s"}
ROUTES = route("shop", "{backendRefs: [{name: inventory}]}", INGRESS)


def spec(*limits: dict[str, Any], **more: Any) -> RateLimitSpec:
    return RateLimitSpec.model_validate({**INVENTORY, "limits": limits or [HUNDRED], **more})


@pytest.mark.parametrize(
    ("message", "limits", "more"),
    [
        ("limits", (), {"limits": []}),
        ("greater than or equal to 1", ({"requests": 0, "per": "1s"},), {}),
        ("50000 microseconds", ({"requests": 1, "per": "10ms"},), {}),
        ("needs the name of the header", ({**HUNDRED, "by": [{"type": "Header"}]},), {}),
        ("has no name", ({**HUNDRED, "by": [{"type": "Path", "name": "a"}]},), {}),
        ("hop-by-hop", ({**HUNDRED, "by": [{"type": "Header", "name": "TE"}]},), {}),
        ("occurs twice", ({**HUNDRED, "by": [{"type": "Path"}, {"type": "Path"}]},), {}),
        ("occurs twice", ({**HUNDRED, "by": [{"type": "Header", "name": n} for n in ("a", "A")]},), {}),
        ("type: Caller", (), {"from": ["orders"]}),
    ],
)
def test_what_cannot_work_is_refused(message: str, limits: tuple[Any, ...], more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(*limits, **more)


def configuration(resource: Resource) -> dict[str, Any]:
    body = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0].resource.value
    config = v3.LocalRateLimit()
    assert v3.TypedExtensionConfig.FromString(body).typed_config.Unpack(config)
    plain: dict[str, Any] = codec.to_dict(config)
    return plain


def test_a_bucket_is_as_large_as_its_burst_and_fills_evenly() -> None:
    keys = [{"type": "ClientAddress"}, {"type": "Header", "name": "X-Key"}]
    limits = {**HUNDRED, "burst": 300, "by": keys}
    (buckets,) = config_of(spec(limits))["descriptors"]
    assert buckets["token_bucket"] == {"max_tokens": 300, "tokens_per_fill": 100, "fill_interval": "1s"}
    assert buckets["entries"] == [
        {"key": "limit", "value": "shop/0"},
        *({"key": key} for key in ("masked_remote_address", "Header:x-key")),
    ]


def test_a_claim_is_read_of_every_token_that_may_be_there() -> None:
    issuers = (
        "issuers: [{issuer: a, jwks: {url: 'http://orders/a'}}, {issuer: b, jwks: {url: 'http://orders/b'}}]"
    )
    limits = "limits: [{requests: 1, per: 1s, by: [{type: Claim, name: x.sub}]}]"
    text = mesh("JWTAuthentication", "users", issuers, SERVICE) + mesh("RateLimit", "shop", limits, SERVICE)
    filters = translate(exchange(text)).snapshot.nodes["inventory"].filters
    by_name = {entry.name: entry for entry in shared_filters.resources("inbound", filters)}
    (rule,) = configuration(by_name[LOCAL])["rate_limits"]
    (bucket,) = configuration(by_name[LOCAL])["descriptors"]
    paths = [action["metadata"]["metadata_key"]["path"] for action in rule["actions"][1:]]
    assert paths == [[{"key": key}, {"key": "x"}, {"key": "sub"}] for key in ("users/a", "users/b")]
    assert bucket["entries"][1:] == [{"key": "Claim:x.sub"}] * 2


def config_of(limits: RateLimitSpec, name: str = LOCAL) -> dict[str, Any]:
    hooks = RateLimitHooks(limits, "RateLimit/shop")
    plain: dict[str, Any] = codec.to_dict(RateLimitHooks.shared_config(name, [[hooks], [hooks]], {}))
    return plain


def test_audit_has_a_filter_of_its_own_that_enforces_nothing() -> None:
    audit = spec(enforcement="audit")
    assert "descriptors" not in config_of(audit)
    assert len(config_of(audit, LOCAL_AUDIT)["descriptors"]) == 1
    assert "filter_enforced" not in config_of(audit, LOCAL_AUDIT)


def test_several_policies_of_a_route_add_up() -> None:
    built = v3.Route(route=v3.RouteAction(cluster="inventory"))
    for name, limits in (("a", [HUNDRED]), ("b", [{"requests": 2, "per": "1m"}, HUNDRED])):
        RateLimitHooks(spec(*limits), f"RateLimit/{name}").patch_inbound_route(built)
    metadata = codec.to_dict(built.metadata)["filter_metadata"]["meshwright"]
    assert metadata == {
        "rate_limits": {name: name for name in ("a/0", "b/0", "b/1")},
        "limited_by": "RateLimit/a, RateLimit/b",
        "retry_after": "30",
    }
    assert list(built.typed_per_filter_config) == [LOCAL]


@pytest.mark.parametrize(
    ("target", "services", "gateway"),
    [("{kind: Mesh}", True, False), (SERVICE, True, False), (INGRESS, False, True)],
)
def test_a_target_is_limited_at_one_place(target: str, services: bool, gateway: bool) -> None:
    text = ROUTES + mesh("RateLimit", "shop", "limits: [{requests: 1, per: 1s}]", target)
    snapshot = translate(exchange(text)).snapshot
    by_name = {
        name: any(entry.type_url == RDS and b"shop/0" in entry.wire for entry in resources)
        for name, resources in snapshot.node_resources()
    }
    assert by_name["inventory"] is services
    assert by_name["ingress"] is gateway


def test_merged_configuration_is_the_new_one() -> None:
    def resource(names: str) -> Resource:
        text = "".join(mesh("RateLimit", name, "limits: [{requests: 1, per: 1s}]", SERVICE) for name in names)
        filters = translate(exchange(text)).snapshot.nodes["inventory"].filters
        return next(entry for entry in shared_filters.resources("inbound", filters) if entry.name == LOCAL)

    merged = shared_filters.merged(resource("ab"), resource("bc"))
    values = [bucket["entries"][0]["value"] for bucket in configuration(merged)["descriptors"]]
    assert values == ["b/0", "c/0"]


def test_a_key_that_is_the_same_for_all_clients_is_reported() -> None:
    limits = spec({**HUNDRED, "by": [{"type": "Caller"}]})
    assert "no identity in the mesh" in limits.inapplicable_reason(TargetRef(kind="Gateway", name="ingress"))
    assert not limits.inapplicable_reason(TargetRef(kind="Service", name="inventory"))
