"""JWTAuthentication: validation, exceptions, and the configuration of the filter and the routes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import re2
from pydantic import ValidationError

from meshwright.cli.documents import read_documents
from meshwright.control_plane.core import shared_filters
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies import exempt_matches
from meshwright.control_plane.policies.called_url import parse_url
from meshwright.control_plane.policies.exempt_request import ExemptRequest
from meshwright.control_plane.policies.hooks import NO_CLUSTER
from meshwright.control_plane.policies.jwtauthentication import matches, providers
from meshwright.control_plane.policies.jwtauthentication.envoy import NAME, JWTAuthenticationHooks
from meshwright.control_plane.policies.jwtauthentication.spec import (
    JWTAuthenticationSpec,
    TokenLocation,
)
from meshwright.control_plane.status.preview import preview_warnings
from tests.control_plane.core.worlds import exchange, mesh, route
from tests.fakes import jwt_keys

KEYS = jwt_keys.key_set(jwt_keys.jwk(jwt_keys.key("ES256"), "ES256", "a"))
TARGET = {"targetRefs": [{"kind": "Service", "name": "inventory"}]}
INGRESS = "{name: ingress}"


def issuer(name: str = "https://a.test", **changes: Any) -> dict[str, Any]:
    return {"issuer": name, "jwks": {"inline": KEYS}, **changes}


def spec(*issuers: dict[str, Any], **changes: Any) -> JWTAuthenticationSpec:
    return JWTAuthenticationSpec.model_validate({**TARGET, "issuers": issuers or (issuer(),), **changes})


def secret_key() -> str:
    return json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"issuers": [issuer(jwks={})]}, "set one of inline, file and url"),
        ({"issuers": [issuer(jwks={"inline": KEYS, "url": "https://a.test"})]}, "set one of inline"),
        ({"issuers": [issuer(jwks={"inline": "{"})]}, "not JSON"),
        ({"issuers": [issuer(jwks={"inline": '{"keys": []}'})]}, "no keys"),
        ({"issuers": [issuer(jwks={"inline": secret_key()})]}, "secret"),
        ({"issuers": [issuer(jwks={"inline": {"keys": [{"kty": "RSA", "d": "1"}]}})]}, "secret"),
        ({"issuers": [issuer(jwks={"file": "keys.json"})]}, "only `mesh apply` reads files"),
        ({"issuers": [issuer(jwks={"url": "http://192.0.2.1/keys"})]}, "needs https://"),
        ({"issuers": [issuer(jwks={"url": "https://users/keys"})]}, "write http://"),
        ({"issuers": [issuer(jwks={"url": "ftp://users/keys"})]}, "http or https"),
        ({"issuers": [issuer(jwks={"url": "https://a:b@c.test/keys"})]}, "without a user"),
        ({"issuers": [issuer(jwks={"url": "http://users/keys", "ca": "x"})]}, "no effect"),
        ({"issuers": [issuer(jwks={"url": "http://users/keys", "refresh": "1s"})]}, "greater than or equal"),
        ({"issuers": [issuer(), issuer()]}, "occurs twice"),
        ({"issuers": [issuer(), issuer("https://b.test")], "require": "all"}, "a place of its own"),
        ({"issuers": [issuer(token={"query": "t"}, forwardToken=False)]}, "only a header can be removed"),
        ({"issuers": [issuer(token={"query": "t", "cookie": "t"})]}, "set one of header, query"),
        ({"claimHeaders": [{"claim": "sub", "header": "authorization"}]}, "meaning of its own"),
        ({"claimHeaders": [{"claim": "sub", "header": "x_user"}]}, "no underscores"),
        ({"claimHeaders": [{"claim": "a", "header": "x-a"}, {"claim": "b", "header": "X-A"}]}, "twice"),
        ({"exceptions": [{"path": "/a/../b"}]}, "not normalised"),
        ({"from": ["orders"]}, "leave it out"),
        ({"targetRefs": [{"kind": "Mesh"}]}, "not a valid target"),
    ],
)
def test_invalid_specs_are_refused_with_advice(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        spec(**changes)


@pytest.mark.parametrize(
    ("url", "authority", "in_mesh"),
    [
        ("http://users/keys", "users", True),
        ("http://users.mesh:9090/keys", "users.mesh:9090", True),
        ("http://users.internal/keys", "users.internal", True),
        ("https://id.example.com/keys", "id.example.com", False),
        ("https://id.example.com.:8443/keys", "id.example.com:8443", False),
        ("http://127.0.0.1:8000/keys", "127.0.0.1:8000", False),
        ("http://localhost:8000/keys", "localhost:8000", False),
    ],
)
def test_the_host_of_a_url_is_in_the_mesh_or_outside(url: str, authority: str, in_mesh: bool) -> None:
    source = parse_url(url)
    assert (source.authority, source.mesh) == (authority, in_mesh)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://users/keys", ""),
        ("http://users.internal:9090/keys", ""),
        ("http://users.service.consul/keys", ""),
        ("http://nobody.internal/keys", ""),
        ("http://a.b.internal/keys", ""),
        ("https://id.internal/keys", ""),
        ("https://id.example.com/keys", ""),
        ("http://127.0.0.1:8000/keys", ""),
        ("http://id.example.com/keys", "outside the mesh and needs https://"),
        ("http://usersinternal.consul/keys", "outside the mesh and needs https://"),
        ("https://users.internal/keys", "is a service of the mesh, which encrypts by itself: write http://"),
    ],
)
def test_the_scheme_of_a_url_fits_the_services_and_domains_of_the_mesh(url: str, reason: str) -> None:
    message = parse_url(url).misplaced({"users"}, ("mesh", "internal", "service.consul"))
    assert reason in message
    assert bool(message) == bool(reason)


def regex(matcher: v3.HeaderMatcher | None) -> str:
    assert matcher is not None
    return matcher.string_match.safe_regex.regex


def test_exceptions_cover_only_paths_that_every_server_reads_alike() -> None:
    def is_exempt(path: str, type_: str, target: str) -> bool:
        entry = ExemptRequest.model_validate({"path": path, "type": type_})
        (matcher,) = exempt_matches.exempt(entry)
        return re.fullmatch(regex(matcher), target) is not None

    for target in ("/a", "/a?b=/../c"):
        assert is_exempt("/a", "Exact", target)
    for target in ("/a/", "/ab", "/A", "//a", "/a;b", "/x/a"):
        assert not is_exempt("/a", "Exact", target)
    for target in ("/a", "/a/", "/a/b/c.d", "/a/.well-known", "/a/...", "/a/..b?c=d", "/a?x=%2e%2e"):
        assert is_exempt("/a", "PathPrefix", target), target
    for target in (
        "/ab",
        "/a/..",
        "/a/../b",
        "/a/./b",
        "/a//b",
        "/a/%2e%2e/b",
        "/a/..;/b",
        "/a/b;c",
        r"/a/..\b",
    ):
        assert not is_exempt("/a", "PathPrefix", target), target
    assert is_exempt("/", "PathPrefix", "/any/path")
    assert not is_exempt("/", "PathPrefix", "/any/../path")


def test_a_token_that_is_sent_twice_is_recognised_in_every_spelling() -> None:
    query = regex(matches.repeated(TokenLocation(query="tok")))
    for target in ("/a?tok=1&tok=2", "/?x&tok=1&y=2&%74ok=2", "/?t%6Fk=1&tok", "/?tok&tok=1&z"):
        assert re2.fullmatch(query, target), target
    for target in ("/a?tok=1", "/tok=1&tok=2", "/?tok=1&token=2", "/?xtok=1&tok=2", "/?tok=a%26tok=b"):
        assert not re2.fullmatch(query, target), target
    cookie = regex(matches.repeated(TokenLocation(cookie="s")))
    for value in ("s=1; s=2", "a=b; s=1; c=d; s=2", "s=1,s=2"):
        assert re2.fullmatch(cookie, value), value
    for value in ("s=1", "s=1; xs=2", "as=1; s=2"):
        assert not re2.fullmatch(cookie, value), value
    assert re2.fullmatch(cookie.encode(), b"s=1; a=\xff; s=2"), "bytes that are not UTF-8"
    assert re2.fullmatch(query.encode(), b"/\xff?tok=1&a=\xff&tok=2")
    assert matches.repeated(TokenLocation(header="x-token")) is None


def requirement(policy: JWTAuthenticationSpec) -> dict[str, Any]:
    return codec.to_dict(providers.requirement("p", policy))


def test_each_place_must_hold_a_valid_token_or_none() -> None:
    a, b = {"provider_name": "p/https://a.test"}, {"provider_name": "p/https://b.test"}
    second = issuer("https://b.test")
    elsewhere = issuer("https://b.test", token={"cookie": "session"})

    def either(*members: Any) -> dict[str, Any]:
        return {"requires_any": {"requirements": list(members)}}

    def every(*members: Any) -> dict[str, Any]:
        return {"requires_all": {"requirements": list(members)}}

    missing: dict[str, Any] = {"allow_missing": {}}
    assert requirement(spec()) == a
    assert requirement(spec(issuer(), second)) == either(a, b)
    assert requirement(spec(issuer(), elsewhere)) == every(
        either(a, missing), either(b, missing), either(a, b)
    )
    assert requirement(spec(issuer(), elsewhere, require="all")) == every(a, b)
    assert requirement(spec(issuer(), second, require="none-but-verify")) == either(a, b, missing)


def test_an_exception_removes_every_spelling_of_a_claims_header() -> None:
    hooks = JWTAuthenticationHooks(
        spec(
            issuer(forwardToken=False),
            claimHeaders=[{"claim": "sub", "header": "X-User-Id"}],
            exceptions=[{"path": "/health"}],
        ),
        "JWTAuthentication/users",
    )
    open_route, route_ = hooks.patch_inbound_route(v3.Route(route=v3.RouteAction(cluster="app")))
    spellings = {"x-user-id", "x_user-id", "x-user_id", "x_user_id"}
    assert set(open_route.request_headers_to_remove) == spellings
    assert NAME not in open_route.typed_per_filter_config
    assert set(route_.request_headers_to_remove) == spellings - {"x-user-id"} | {"authorization"}
    config = v3.JwtPerRoute()
    assert route_.typed_per_filter_config[NAME].Unpack(config)
    assert config.requirement_name == "users"


def filter_of(snapshot: Snapshot, owner: str) -> v3.JwtAuthentication:
    for name, resources in snapshot.node_resources():
        for resource in resources if name == owner else ():
            if resource.name == NAME:
                response = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0]
                extension = v3.TypedExtensionConfig.FromString(response.resource.value)
                config = v3.JwtAuthentication()
                assert extension.typed_config.Unpack(config)
                return config
    raise AssertionError(owner)


def document(name: str, target: str, *more: str) -> str:
    fields = ", ".join((f"issuers: [{json.dumps(issuer())}]", *more))
    return mesh("JWTAuthentication", name, fields, target)


ROUTES = route("shop", "{name: admin, matches: [{path: {value: /admin}}], backendRefs: [{name: orders}]}, "
               "{backendRefs: [{name: orders}]}", INGRESS)  # fmt: skip


def test_a_gateway_has_the_combinations_that_its_routes_name_and_services_their_own() -> None:
    text = (
        ROUTES
        + document("edge", "{kind: Gateway, name: ingress, sectionName: http}", "exceptions: [{path: /a}]")
        + document("other", "{kind: Gateway, name: ingress, sectionName: elsewhere}")
        + document("admin", "{kind: HTTPRoute, name: shop, sectionName: admin}")
        + document("inside", "{kind: Service, name: orders}")
    )
    snapshot = translate(exchange(text)).snapshot
    assert snapshot.problems == ()
    assert set(filter_of(snapshot, "ingress").requirement_map) == {"edge", "admin", "admin&edge"}
    assert set(filter_of(snapshot, "orders").requirement_map) == {"inside"}
    assert not filter_of(snapshot, "inventory").requirement_map


def test_keys_of_a_service_need_its_cluster_and_those_of_a_missing_one_none() -> None:
    text = ROUTES + mesh(
        "JWTAuthentication",
        "edge",
        "issuers: [{issuer: a, jwks: {url: 'http://orders/keys'}}, {issuer: b, jwks: {url: 'http://nobody/k'}},"
        " {issuer: c, jwks: {url: 'https://id.example.com/keys'}}]",
        "{kind: Gateway, name: ingress}",
    )
    translation = translate(exchange(text))
    snapshot = translation.snapshot
    config = filter_of(snapshot, "ingress").providers
    outside = "/outside/https/id.example.com:443"
    clusters = {name: config[f"edge/{name}"].remote_jwks.http_uri.cluster for name in "abc"}
    assert clusters == {"a": "orders", "b": NO_CLUSTER, "c": outside}
    resource = shared_filters.resources("ingress", snapshot.gateways["ingress"].filters)[0]
    assert set(resource.required_clusters) == {"orders", outside}
    assert snapshot.dangling_references() == ()


def test_a_route_without_a_gateway_and_an_unknown_listener_are_reported() -> None:
    inside = route("inside", "{backendRefs: [{name: orders}]}", "{kind: Service, name: orders}")
    texts = {
        "attached to no Gateway": document("users", "{kind: HTTPRoute, name: inside}"),
        "no listener 'none'": document("users", "{kind: Gateway, name: ingress, sectionName: none}"),
    }
    for message, text in texts.items():
        world = exchange(inside + text)
        body = next(entry.policy for entry in world.documents if entry.policy.kind == "JWTAuthentication")
        dumped = body.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        (warning,) = preview_warnings(world, [dumped])
        assert message in warning


def test_apply_reads_a_key_file_beside_the_policy(tmp_path: Path) -> None:
    policy = tmp_path / "users.yaml"
    head = "apiVersion: meshwright.io/v1\nkind: JWTAuthentication\nmetadata: {name: users}\n"
    jwks = "{issuer: a, jwks: {file: keys.json}}"
    policy.write_text(f"{head}spec: {{targetRefs: [{{kind: Service, name: a}}], issuers: [{jwks}]}}\n")
    with pytest.raises(InputError, match=r"users\.yaml:4:\d+: .*keys\.json: no such file"):
        read_documents([str(policy)])
    (tmp_path / "keys.json").write_text(KEYS)
    (loaded,) = read_documents([str(policy)]).documents
    (entry,) = loaded.policy.spec.issuers
    assert (entry.jwks.inline, entry.jwks.file) == (KEYS, "")


def test_merged_configuration_serves_old_and_new_routes() -> None:
    def resource(names: str, skew: str) -> Any:
        text = "".join(document(name, INGRESS_TARGET, f"clockSkew: {skew}") for name in names)
        views = translate(exchange(ROUTES + text)).snapshot.gateways["ingress"].filters
        return shared_filters.resources("ingress", views)[0]

    old, new = resource("ab", "10s"), resource("bc", "20s")
    body = v3.DeltaDiscoveryResponse.FromString(shared_filters.merged(old, new).wire).resources[0].resource
    config = v3.JwtAuthentication()
    assert v3.TypedExtensionConfig.FromString(body.value).typed_config.Unpack(config)
    assert set(config.requirement_map) == {"a&b", "b&c"}
    skews = {name: entry.clock_skew_seconds for name, entry in config.providers.items()}
    assert skews == {f"{name}/https://a.test": skew for name, skew in (("a", 10), ("b", 20), ("c", 20))}


INGRESS_TARGET = "{kind: Gateway, name: ingress}"
