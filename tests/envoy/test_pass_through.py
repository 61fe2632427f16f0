"""HTTP that apps accept passes a mesh unchanged, and what a proxy of the mesh refuses has a reason."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.http_cases import END, FORGED, REFUSALS, RESPONSES
from tests.envoy.mesh_api import api
from tests.envoy.raw_http import RawResponse, exchange, planned
from tests.fakes.ports import free_port

POLICIES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: raw}
spec:
  parentRefs: [{kind: Gateway, name: ingress}, {kind: Gateway, name: behind}, {kind: Gateway, name: open}]
  rules: [{backendRefs: [{name: raw}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: copies}
spec:
  parentRefs: [{kind: Service, group: "", name: back}]
  rules:
    - backendRefs: [{name: back}]
      filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copies}}}]
---
apiVersion: meshwright.io/v1
kind: Telemetry
metadata: {name: everything}
spec: {targetRefs: [{kind: Mesh}], sampling: 100}
"""


def raw_service(name: str, **more: Any) -> dict[str, Any]:
    """A service whose app shows and sends HTTP byte for byte."""
    entry = service(name)
    entry["command"] = [entry["command"][0], "-m", "tests.fakes.raw_app"]
    return {**entry, "health": "/", **more}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    gateways = [
        {"name": "behind", "port": free_port(), "trustedProxies": ["127.0.0.3/32"], "requestTimeout": "2s"},
        {
            "name": "open",
            "port": free_port(),
            "trustedProxies": 1,
            "paths": "Keep",
            "underscoreHeaders": "Keep",
            "methods": "Any",
        },
    ]
    services = [service("front"), raw_service("raw"), raw_service("back"), raw_service("copies")]
    services.append({**service("denied"), "outbound": "deny"})
    with running_mesh(tmp_path_factory.mktemp("mesh"), services, gateways=gateways) as running:
        running.apply(POLICIES)
        yield running


def gateway_port(mesh: Mesh, name: str) -> int:
    return mesh.ports(name)["gateway.http"]


def call(mesh: Mesh, target: str, headers: str = "", *body: str, method: str = "GET") -> RawResponse:
    """A request to the raw app through front-1's sidecar."""
    head = f"{method} http://raw{target} HTTP/1.1\r\nHost: raw\r\n{headers}Connection: close\r\n\r\n"
    return exchange(mesh.ports("front-1")["outbound"], head + "".join(body[:1]), *body[1:])


# --- requests that pass ---------------------------------------------------------------------------------

TARGETS = [
    *(
        "/a%2Fb",
        "/a%2fb%5Cc",
        "//a//b",
        "/a/./b",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a;b=c;d",
        "/a%20b",
        "/%00",
        "/%zz",
    ),
    *("/a|b^c{d}", '/a"b\\c', "/?a=%2F&b=//", "/a??b", "/?", "/%E2%82%AC", f"/{'u' * 20_000}"),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target[:20])
def test_target_arrives_as_it_was_sent(mesh: Mesh, target: str) -> None:
    assert call(mesh, target).seen["head"].split(" ")[1] == target


@pytest.mark.parametrize(
    "method", ["PROPFIND", "M-SEARCH", "PURGE", "FOO", "get", "TRACE", "OPTIONS", "DELETE"]
)
def test_method_arrives_as_it_was_sent(mesh: Mesh, method: str) -> None:
    assert call(mesh, "/x", method=method).seen["head"].startswith(f"{method} /x ")


@pytest.mark.parametrize(
    "token", ["TLS/1.2", "h2c", "h2c,foo", "SPDY/3.1", "tailscale-control", "websockets", "Foo"]
)
def test_unknown_upgrade_is_ignored(mesh: Mesh, token: str) -> None:
    offer = f"Connection: Upgrade\r\nUpgrade: {token}\r\n"
    for port, target in ((mesh.ports("front-1")["outbound"], "http://raw/u"), (mesh.ingress_port, "/u")):
        response = exchange(port, f"GET {target} HTTP/1.1\r\nHost: raw\r\n{offer}{END}")
        assert response.status == 200


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("X_Under: a\r\n", "x_under: a"),
        ("X-Dup: a\r\nX-Dup: b\r\n", "x-dup: a\r\nx-dup: b"),
        ("X-Empty:\r\n", "x-empty: "),
        ("X-Text: caf\xe9 \t z\r\n", "x-text: caf\xe9 \t z"),
        ("X-Request-Id: my-own-1\r\n", "x-request-id: my-own-1"),
        (
            "X-Request-Id: 3b241101-e2bb-4255-8caf-4136c566a962\r\n",
            "x-request-id: 3b241101-e2bb-4255-8caf-4136c566a962",
        ),
        ("Via: 1.1 other\r\n", "via: 1.1 other"),
        ("X-Forwarded-For: 9.9.9.9\r\n", "x-forwarded-for: 9.9.9.9"),
        ("".join(f"X-{n}: v\r\n" for n in range(950)), "x-949: v"),
        (f"X-Big: {'b' * 50_000}\r\n", f"x-big: {'b' * 50_000}"),
    ],
    ids=lambda value: value[:12],
)
def test_header_arrives_as_it_was_sent(mesh: Mesh, sent: str, expected: str) -> None:
    head = call(mesh, "/x", sent).seen["head"]
    assert f"\r\n{expected}\r\n" in head
    assert "x-envoy" not in head


def test_body_of_a_chunked_request_arrives_and_trailers_do_not(mesh: Mesh) -> None:
    chunked = "TE: trailers\r\nTrailer: x-t\r\nTransfer-Encoding: chunked\r\n"
    seen = call(mesh, "/x", chunked, "3\r\nabc\r\n0\r\nX-T: v\r\n\r\n", method="POST").seen
    assert seen["body"] == hashlib.sha256(b"abc").hexdigest()
    assert seen["trailers"] == []


def test_expectation_is_the_apps_to_meet_or_refuse(mesh: Mesh) -> None:
    expect = "Expect: 100-continue\r\nContent-Length: 3\r\n"
    met = call(mesh, "/x", expect, "", "abc", method="POST")
    assert met.text.startswith("HTTP/1.1 100 Continue")
    assert met.seen["body"] == hashlib.sha256(b"abc").hexdigest()
    assert call(mesh, "/x", f"X-Continue: no\r\n{expect}", method="POST").status == 417


@pytest.mark.parametrize("host", ["raw", "RAW", "raw.", "raw.mesh", "raw:80"])
def test_http_1_0_needs_no_host_header(mesh: Mesh, host: str) -> None:
    response = exchange(mesh.ports("front-1")["outbound"], f"GET http://{host}/x HTTP/1.0\r\n\r\n")
    assert response.seen["head"].startswith("GET /x ")


def test_gateway_serves_http_1_0_without_a_host(mesh: Mesh) -> None:
    assert exchange(mesh.ingress_port, "GET /x HTTP/1.0\r\n\r\n").status == 200


# --- responses that pass --------------------------------------------------------------------------------


@pytest.mark.parametrize(("response", "status", "expected"), RESPONSES, ids=lambda value: str(value)[9:34])
def test_response_arrives_as_the_app_sent_it(mesh: Mesh, response: str, status: int, expected: str) -> None:
    received = call(mesh, "/x", f"TE: trailers\r\n{planned(response)}")
    assert received.status == status
    assert expected in received.text
    assert "x-envoy" not in received.text
    assert "server: envoy" not in received.text


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "request_text", "status", "reason"), REFUSALS)
def test_refusal_says_why_and_can_be_asked_about(
    mesh: Mesh, where: str, request_text: str, status: int, reason: str
) -> None:
    port = mesh.ingress_port if where == "ingress" else mesh.ports("front-1")["outbound"]
    response = exchange(port, request_text)
    assert response.status == status
    if reason != "no service":
        assert reason in response.body
    assert len(response.body.strip().splitlines()) == 1

    explanation = explained(mesh, response, reason[:20])
    assert explanation["verdict"] in ("refused", "failed")
    assert str(status) in explanation["summary"]


def explained(mesh: Mesh, response: RawResponse, reason: str) -> Any:
    """What `mesh why` says of a response, once it holds the reason: spans may arrive before log records."""

    def explanation() -> Any:
        answer = api(mesh, f"/api/v1/why/{response.request_id}")
        return answer.status_code == 200 and reason in answer.text and answer.json()

    return until(explanation, f"an explanation with {reason!r}")


def test_too_many_headers_in_a_response_are_explained_by_the_limit(mesh: Mesh) -> None:
    fields = "".join(f"x-{n}: v\n" for n in range(1100))
    response = call(mesh, "/x", planned(f"HTTP/1.1 200 OK\n{fields}\n"))
    assert response.status == 502 and "mesh's limit (1000 headers" in response.body
    explained(mesh, response, "exceed the mesh's limit (1000 headers")


@pytest.mark.parametrize(
    "request_text",
    [
        f"GET /a%2Fb HTTP/1.1\r\nHost: h\r\n{END}",
        f"GET //a/../b HTTP/1.1\r\nHost: h\r\n{END}",
        f"GET /a HTTP/1.1\r\nHost: h\r\nx_a: b\r\n{END}",
        f"FOO /a HTTP/1.1\r\nHost: h\r\n{END}",
    ],
)
def test_rules_of_a_gateway_can_be_switched_off(mesh: Mesh, request_text: str) -> None:
    response = exchange(gateway_port(mesh, "open"), request_text)
    assert response.seen["head"].startswith(request_text.partition("\r\n")[0])


# --- behind another proxy -------------------------------------------------------------------------------

CLAIMS = {
    "x-forwarded-for": "203.0.113.7",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "shop.example.com",
    "x-forwarded-port": "443",
    "x-real-ip": "203.0.113.7",
    "x-request-id": "claimed-1",
    "true-client-ip": "203.0.113.7",
    "forwarded": "for=203.0.113.7",
}
CLAIMED = "".join(f"{name}: {value}\r\n" for name, value in CLAIMS.items())


def headers_behind(mesh: Mesh, gateway: str, source: str, more: str = "") -> dict[str, str]:
    """What the app sees of a request from this address that claims to be forwarded."""
    text = f"GET /x HTTP/1.1\r\nHost: host.example\r\n{CLAIMED}{more}{END}"
    lines = exchange(gateway_port(mesh, gateway), text, source=source).seen["head"].split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines if ": " in line)


@pytest.mark.parametrize(("gateway", "source"), [("behind", "127.0.0.3"), ("open", "127.0.0.5")])
def test_trusted_proxy_is_believed(mesh: Mesh, gateway: str, source: str) -> None:
    seen = headers_behind(mesh, gateway, source)
    assert seen.pop("x-forwarded-for").replace(" ", "") == f"203.0.113.7,{source}"
    assert {name: seen[name] for name in CLAIMS if name in seen} == {
        name: value for name, value in CLAIMS.items() if name != "x-forwarded-for"
    }


@pytest.mark.parametrize(("gateway", "source"), [("behind", "127.0.0.5"), ("ingress", "127.0.0.3")])
def test_stranger_is_not_believed(mesh: Mesh, gateway: str, source: str) -> None:
    seen = headers_behind(mesh, gateway, source, "".join(f"{name}: 6.6.6.6\r\n" for name in FORGED))
    assert (seen["x-forwarded-for"], seen["x-real-ip"]) == (source, source)
    assert (seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("http", "host.example")
    assert seen["x-forwarded-port"] == str(gateway_port(mesh, gateway))
    assert seen["x-request-id"] != "claimed-1"
    assert not {"true-client-ip", "forwarded", *FORGED} & seen.keys()


def test_request_that_does_not_arrive_in_time_is_ended(mesh: Mesh) -> None:
    text = "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nx"
    response = exchange(gateway_port(mesh, "behind"), text)
    assert response.status == 408
    assert "requestTimeout" in response.body


# --- hosts outside the mesh -----------------------------------------------------------------------------


@pytest.fixture
def outside() -> Iterator[str]:
    """`host:port` of a server that is not in the mesh."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"outside {self.path} {self.headers['host']}".encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.9", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.9:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_call_reaches_a_host_outside_the_mesh(mesh: Mesh, outside: str) -> None:
    port = mesh.ports("front-1")["outbound"]
    plain = exchange(port, f"GET http://{outside}/a%2Fb HTTP/1.1\r\nHost: {outside}\r\n{END}")
    assert plain.status == 200
    assert f"outside /a%2Fb {outside}" in plain.body
    tunnel = f"CONNECT {outside} HTTP/1.1\r\nHost: {outside}\r\n\r\n"
    inside = exchange(port, tunnel, f"GET /t HTTP/1.0\r\nHost: {outside}\r\n\r\n")
    assert inside.text.startswith("HTTP/1.1 200")
    assert inside.text.endswith(f"outside /t {outside}")


def test_calls_outside_are_an_edge_of_the_topology(mesh: Mesh, outside: str) -> None:
    text = f"GET http://{outside}/ HTTP/1.1\r\nHost: {outside}\r\n{END}"

    def edges() -> Any:
        exchange(mesh.ports("front-1")["outbound"], text)
        topology = api(mesh, "/api/v1/topology").json()
        return [edge for edge in topology["edges"] if (edge["from"], edge["to"]) == ("front", "external")]

    # An edge covers ten seconds, in which calls of other tests were refused.
    until(lambda: [(edge["success"], edge["mtls"]) for edge in edges()] == [(1.0, False)], "no failed call")
    nodes = api(mesh, "/api/v1/topology").json()["nodes"]
    assert ("external", "external") in {(node["name"], node["role"]) for node in nodes}


def test_denied_call_has_a_reason(mesh: Mesh, outside: str) -> None:
    port = mesh.ports("denied-1")["outbound"]
    for line in (f"GET http://{outside}/ HTTP/1.1", f"CONNECT {outside} HTTP/1.1"):
        text = f"{line}\r\nHost: {outside}\r\n{END}"
        response = exchange(port, text)
        assert response.status == 403
        assert "outbound: deny" in response.body
    assert exchange(port, f"GET http://raw/ HTTP/1.1\r\nHost: raw\r\n{END}").status == 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::1]", "0.0.0.0", "127.10.0.1"]
)
def test_sidecar_is_no_way_to_the_loopback_of_its_host(mesh: Mesh, host: str) -> None:
    ports, target = mesh.ports("raw-1"), mesh.ports("front-1")["outbound"]
    for text in (
        f"GET http://{host}:{ports['app.http']}/ HTTP/1.1\r\nHost: {host}:{ports['app.http']}\r\n{END}",
        f"CONNECT {host}:{ports['outbound']} HTTP/1.1\r\nHost: {host}:{ports['outbound']}\r\n{END}",
    ):
        assert exchange(target, text).status in (403, 404, 503)


# --- mirrors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 100_000, 3_000_000])
def test_copy_is_the_original(mesh: Mesh, size: int) -> None:
    mark = f"x-mark: {size}"
    head = f"POST http://back/m?q=1 HTTP/1.1\r\nHost: back:80\r\n{mark}\r\nX-Forwarded-For: 9.9.9.9\r\n"
    text = f"{head}Content-Length: {size}\r\n{END}{'b' * size}"
    original = exchange(mesh.ports("front-1")["outbound"], text).seen

    def copies() -> list[str]:
        lines = mesh.log("copies-1").splitlines(keepends=True)
        return [line for line in lines if f"{mark}\\r" in line and line.endswith("\n")]

    (line,) = until(copies, "the copy")
    copy = json.loads(line)

    def comparable(seen: dict[str, Any]) -> tuple[set[str], str]:
        changing = ("traceparent", "x-forwarded-client-cert")
        return {text for text in seen["head"].split("\r\n") if not text.startswith(changing)}, seen["body"]

    assert comparable(copy) == comparable(original)


def test_an_app_cannot_mark_its_request_as_a_copy(mesh: Mesh) -> None:
    forged = "X-Meshwright-Mirror: yes\r\nX-Meshwright-Mirrored-For: 6.6.6.6\r\n"
    for marks in ("", forged):
        seen = call(mesh, "/m", f"X-Forwarded-For: 9.9.9.9\r\n{marks}").seen["head"].lower()
        assert "x-forwarded-for: 9.9.9.9" in seen and "x-meshwright" not in seen


@pytest.mark.long
def test_copy_that_nobody_reads_is_dropped_counted_and_the_original_goes_on(mesh: Mesh) -> None:
    size = 30_000_000
    head = f"POST http://back/stalled HTTP/1.1\r\nHost: back\r\nContent-Length: {size}\r\n{END}"
    app = psutil.Process(mesh.pid("copies-1"))
    app.suspend()
    try:
        original = exchange(mesh.ports("front-1")["outbound"], head + "b" * size, timeout=120)
    finally:
        app.resume()
    assert original.seen["body"] == hashlib.sha256(b"b" * size).hexdigest()
    dropped = mesh.run("proxy", "copies-1", "stats", "--filter", "downstream_rq_idle_timeout").stdout
    assert re.search(r"inbound\S*downstream_rq_idle_timeout\W+[1-9]", dropped), dropped
