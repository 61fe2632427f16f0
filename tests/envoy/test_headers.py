"""HeaderPolicy, CORS, RequestLimits, Compression and EnvoyPatch under traffic."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service
from tests.envoy.raw_http import exchange

SERVICE = "{kind: Service, name: back}"
GATEWAY = "{kind: Gateway, name: ingress}"
SENT = {"x-set": "old", "x-add": "some", "x-removed": "here", "x-other": "same"}


def policy(name: str, target: str, spec: str, kind: str = "HeaderPolicy") -> str:
    """A policy for one target."""
    return (
        f"---\n{{apiVersion: meshwright.io/v1, kind: {kind}, metadata: {{name: {name}}},"
        f" spec: {{targetRefs: [{target}], {spec}}}}}\n"
    )


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    applications = [service("front"), service("side"), service("back")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), applications) as running:
        running.apply(
            "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: public},"
            " spec: {parentRefs: [{name: ingress}], rules: [{backendRefs: [{name: back}]},"
            " {matches: [{path: {value: /stock}, method: PUT, headers: [{name: x-kind, value: a}]}],"
            " backendRefs: [{name: back}]}]}}"
        )
        yield running


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Any]:
    """Apply a policy; it is deleted after the test."""
    names: list[tuple[str, str]] = []

    def apply(name: str, target: str, spec: str, kind: str = "HeaderPolicy") -> None:
        mesh.apply(policy(name, target, spec, kind))
        names.append((kind, name))

    yield apply
    for kind, name in names:
        mesh.delete(kind, name)


def call(mesh: Mesh, caller: str = "front-1") -> requests.Response:
    return mesh.get(caller, "http://back/echo", headers=SENT)


def received(response: requests.Response) -> dict[str, str]:
    """The request headers that the application received."""
    headers: dict[str, str] = response.json()["headers"]
    return headers


def test_service_target_changes_requests_and_responses(mesh: Mesh, applied: Any) -> None:
    applied(
        "back",
        SERVICE,
        "request: {set: [{name: X-Set, value: '100% new'}, {name: x-new, value: a}],"
        " add: [{name: x-add, value: more}], remove: [X-Removed]},"
        " response: {set: [{name: x-tone, value: calm}], add: [{name: x-served-by, value: two}],"
        " remove: [content-type]}",
    )
    for response in (call(mesh), mesh.outside("/echo", headers=SENT)):
        headers = received(response)
        assert (headers["x-set"], headers["x-new"]) == ("100% new", "a")
        assert headers["x-add"] == "more", "the application shows the last one of several"
        assert "x-removed" not in headers
        assert headers["x-other"] == "same"
        assert response.headers["x-tone"] == "calm"
        assert response.headers["x-served-by"] == "back-1, two"
        assert "content-type" not in response.headers


def test_gateway_target_changes_only_requests_from_outside(mesh: Mesh, applied: Any) -> None:
    applied("edge", GATEWAY, "request: {set: [{name: x-edge, value: ingress}]}")
    assert received(mesh.outside("/echo"))["x-edge"] == "ingress"
    assert "x-edge" not in received(call(mesh))


def test_from_limits_the_policy_to_its_callers(mesh: Mesh, applied: Any) -> None:
    applied("front-only", SERVICE, "from: [front], request: {set: [{name: x-caller, value: front}]}")
    assert received(call(mesh))["x-caller"] == "front"
    assert "x-caller" not in received(call(mesh, "side-1"))


def test_applying_and_deleting_keeps_the_callers_connection(mesh: Mesh) -> None:
    session = mesh.caller("front-1")

    def connections() -> str:
        name = r"^http\.outbound\.downstream_cx_total$"
        return mesh.run("proxy", "front-1", "stats", "--filter", name).stdout

    assert "x-mark" not in received(session.get("http://back/echo", timeout=20))
    before = connections()
    assert "downstream_cx_total" in before
    mesh.apply(policy("mark", SERVICE, "request: {set: [{name: x-mark, value: a}]}"))
    assert received(session.get("http://back/echo", timeout=20))["x-mark"] == "a"
    mesh.delete("HeaderPolicy", "mark")
    assert "x-mark" not in received(session.get("http://back/echo", timeout=20))
    assert connections() == before


def test_variables_tell_who_calls_and_cannot_be_forged(mesh: Mesh, applied: Any) -> None:
    applied(
        "caller",
        SERVICE,
        "request: {set: [{name: x-caller, variable: source.principal}]},"
        " response: {set: [{name: x-id, variable: request.id}]}",
    )
    forged = {"x-caller": "spiffe://mesh.local/service/admin", "X_Caller": "admin"}
    got = received(mesh.get("front-1", "http://back/echo", headers=forged))
    assert got["x-caller"] == "spiffe://mesh.local/service/front"
    assert "x_caller" not in got
    assert received(mesh.get("side-1", "http://back/echo"))["x-caller"].endswith("/service/side")
    response = mesh.outside("/echo")
    assert received(response)["x-caller"] == "spiffe://mesh.local/gateway/ingress"
    assert response.headers["x-id"] == response.headers["x-request-id"]


def test_gateway_tells_the_clients_address_and_the_request(mesh: Mesh, applied: Any) -> None:
    variables = {"x-client": "source.address", "x-path": "request.path", "x-scheme": "request.scheme"}
    changes = ", ".join(f"{{name: {name}, variable: {variable}}}" for name, variable in variables.items())
    applied("client", GATEWAY, f"request: {{set: [{changes}]}}")
    got = received(mesh.outside("/echo?a=b", headers={"x-client": "1.2.3.4"}))
    assert [got[name] for name in variables] == ["127.0.0.1", "/echo?a=b", "http"]


FRAMING = ("Connection: close", "Content-Length: 9", "Transfer-Encoding: chunked", "TE: gzip", "Upgrade: x")


def test_trailers_fail_no_request_and_are_no_headers_of_the_next_one(mesh: Mesh) -> None:
    """A few failures of an instance would open its circuit breaker for everybody."""
    inside = mesh.ports("front-1")["outbound"]
    for port, trailers in ((mesh.ingress_port, FRAMING), (inside, ()), (mesh.ingress_port, ())):
        for trailer in (*trailers, "X-User: root"):
            head = "POST /echo HTTP/1.1\r\nHost: back\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
            response = exchange(port, f"{head}\r\n1\r\na\r\n0\r\n{trailer}\r\n\r\n")
            assert response.status == 200, (trailer, response.text)
        for _ in range(3):
            assert "x-user" not in received(call(mesh))


PAGE = "https://shop.exchange.example"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "PUT"}


def test_cors_of_a_service_is_overridden_by_the_route_and_its_own_filter(mesh: Mesh, applied: Any) -> None:
    spec = "allowOrigins: ['https://*.exchange.example'], allowMethods: [PUT]"
    applied("web", SERVICE, spec, "CORS")
    mesh.reset("back-1")
    preflight = mesh.outside("/echo", "OPTIONS", headers=PREFLIGHT)
    assert preflight.headers["access-control-allow-origin"] == PAGE
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert mesh.counts("back-1") == {}, "the gateway answers preflight requests"
    assert mesh.outside("/echo", headers={"origin": PAGE}).headers["access-control-allow-origin"] == PAGE
    stranger = mesh.outside("/echo", headers={"origin": "https://evil.example"})
    assert stranger.status_code == 200
    assert "access-control-allow-origin" not in stranger.headers
    inside = mesh.get("front-1", "http://back/echo", headers={"origin": PAGE})
    assert inside.headers["access-control-allow-origin"] == PAGE
    route = "{kind: HTTPRoute, name: public}"
    applied("route", route, "allowOrigins: ['*'], exposeHeaders: [x-total]", "CORS")
    response = mesh.outside("/echo", headers={"origin": "https://any.example"})
    assert response.headers["access-control-allow-origin"] == "https://any.example"
    assert response.headers["access-control-expose-headers"] == "x-total"


def test_cors_answers_for_routes_that_match_no_preflight_before_anything_refuses(
    mesh: Mesh, applied: Any
) -> None:
    applied(
        "web", GATEWAY, f"allowOrigins: ['{PAGE}', 'https://*.b.example:8443'], allowMethods: [PUT]", "CORS"
    )
    applied("nobody", GATEWAY, "rules: [{action: deny}]", "Authorization")
    applied("none", GATEWAY, "limits: [{requests: 1, per: 1h}]", "RateLimit")
    mesh.reset("back-1")
    for origin in (PAGE, "https://a.b.example:8443"):
        answer = mesh.outside("/stock", "OPTIONS", headers=PREFLIGHT | {"origin": origin})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
    for other in ({"origin": "https://a.b.example"}, {"access-control-request-method": "PATCH"}):
        answer = mesh.outside("/stock", "OPTIONS", headers=PREFLIGHT | other)
        assert answer.status_code == (403 if "origin" in other else 200), "the rule for all paths takes it"
    refused = mesh.outside("/stock", "PUT", headers={"origin": PAGE, "x-kind": "a"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (403, PAGE)
    assert mesh.counts("back-1") == {}


def chunks(*sizes: int) -> Iterator[bytes]:
    """A body whose length is not declared."""
    return (bytes(size) for size in sizes)


def test_bodies_beyond_the_limit_get_413_and_others_stream(mesh: Mesh, applied: Any) -> None:
    limits = "maxBody: 2Mi, maxBodyWithoutLength: 64Ki"
    applied("uploads", GATEWAY, limits, "RequestLimits")
    applied("small", SERVICE, "maxBody: 3Mi", "RequestLimits")
    mesh.reset("back-1")
    declared = mesh.outside("/echo", "POST", data=bytes(2**21 + 1))
    assert (declared.status_code, "2Mi that RequestLimits/uploads" in declared.text) == (413, True)
    chunked = mesh.outside("/echo", "POST", data=chunks(2**16, 1))
    assert (chunked.status_code, '["RequestLimits/uploads"]' in chunked.text) == (413, True), chunked.text
    assert mesh.counts("back-1") == {}, "neither reached the application"
    assert mesh.outside("/echo", "POST", data=bytes(2**21)).json()["body_len"] == 2**21
    assert mesh.outside("/echo", "POST", data=chunks(2**15, 2**15)).json()["body_len"] == 2**16
    assert mesh.outside("/echo").status_code == 200
    inside = mesh.get("front-1", "http://back/echo", "POST", data=bytes(3 * 2**20 + 1))
    assert (inside.status_code, "3Mi that RequestLimits/small" in inside.text) == (413, True)
    assert mesh.get("front-1", "http://back/echo", "POST", data=bytes(3 * 2**20)).status_code == 200


def test_responses_are_compressed_as_clients_accept(mesh: Mesh, applied: Any) -> None:
    applied("browsers", GATEWAY, "algorithms: [zstd, br, gzip], minSize: 1Ki", "Compression")
    padding = {"x-padding": "a" * 2000}

    def encoded(accepted: str, path: str = "/echo", **headers: str) -> requests.Response:
        sent = {"accept-encoding": accepted, **headers}
        return mesh.outside(path, headers=sent, stream=True)

    for accepted, encoding in {
        "gzip": "gzip",
        "br": "br",
        "zstd": "zstd",
        "gzip, br, zstd": "zstd",
        "br;q=1.0, zstd;q=0.5": "br",
        "identity": None,
    }.items():
        response = encoded(accepted, **padding)
        assert response.headers.get("content-encoding") == encoding, accepted
        assert "accept-encoding" in response.headers["vary"].lower(), accepted
    assert encoded("gzip", **padding).json()["headers"]["accept-encoding"] == "gzip"
    assert "content-encoding" not in encoded("gzip").headers, "the response is small"
    assert "content-encoding" not in encoded("gzip", "/big?mb=1").headers, "of another type"
    inside = mesh.get("front-1", "http://back/echo", headers={"accept-encoding": "gzip", **padding})
    assert "content-encoding" not in inside.headers


def patch(operation: str, resource: str = "type: RouteConfiguration, name: in") -> str:
    return f"patches: [{{{resource}, operations: [{operation}]}}]"


def shown(mesh: Mesh, *command: str) -> Any:
    return json.loads(mesh.run(*command, "-o", "json").stdout)


def test_patch_of_envoy_is_in_force_and_one_that_envoy_rejects_leaves_the_last(
    mesh: Mesh, applied: Any
) -> None:
    header = "{header: {key: x-patched, value: 'yes'}}"
    operation = f"{{op: add, path: /response_headers_to_add, value: [{header}]}}"
    applied("escape", SERVICE, patch(operation), "EnvoyPatch")
    assert call(mesh).headers["x-patched"] == "yes"
    mark = {"type": "RouteConfiguration", "name": "in", "policies": ["EnvoyPatch/escape"]}
    routes = shown(mesh, "proxy", "back-1", "config", "routes")
    assert routes["patched"] == [mark], "by Envoy's own dump"
    assert "patched" not in shown(mesh, "proxy", "back-1", "config", "clusters")
    assert mesh.status()["patched"] == [{**mark, "owner": "back"}]
    assert "patched by hand: RouteConfiguration in of back (EnvoyPatch/escape)" in mesh.run("status").stdout
    assert "Service/back: RouteConfiguration in" in mesh.run("get", "envoypatch").stdout
    rejected = patch("{op: add, path: /virtual_hosts/-, value: {name: app, domains: ['*']}}")
    text = policy("broken", SERVICE, rejected, "EnvoyPatch")
    before = json.loads(mesh.run("history", "-n", "1", "-o", "json").stdout)["items"][0]["revision"]
    done = mesh.run("apply", "-f", "-", "--wait", stdin=text, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert re.fullmatch(
        r"<stdin>:\d+:\d+: spec\S*: Envoy rejects RouteConfiguration in: Only a single wildcard domain .*\n",
        done.stderr,
    )
    assert json.loads(mesh.run("history", "-n", "1", "-o", "json").stdout)["items"][0]["revision"] == before
    done = mesh.run("apply", "-f", "-", "--wait", "--no-verify", stdin=text, check=False)
    assert done.returncode == 5, done.stderr
    assert "back-1: rejected revision" in done.stderr
    assert call(mesh).headers["x-patched"] == "yes", "the last configuration that Envoy took"
    mesh.delete("EnvoyPatch", "broken")
    missing = policy("missing", SERVICE, patch("{op: remove, path: /nothing}"), "EnvoyPatch")
    done = mesh.run("apply", "-f", "-", stdin=missing, check=False)
    assert (done.returncode, "there is no /nothing" in done.stderr) == (2, True), done.stderr
