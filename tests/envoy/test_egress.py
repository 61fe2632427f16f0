"""ExternalService with `via`: calls to hosts outside go through a gateway, and never past it."""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from meshwright.sidecar.svid import parse_secrets
from tests.cli.joining import starting
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import api
from tests.envoy.outside_world import HOST, call, document, of, policy, static
from tests.envoy.steady_load import load
from tests.fakes.outside_server import Outside, PublicAuthority, running_outside
from tests.fakes.ports import free_port

VIA = ", via: {kind: Gateway, name: egress}"

ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: public}
spec:
  parentRefs: [{name: ingress}]
  rules: [{backendRefs: [{group: meshwright.io, kind: ExternalService, name: cards}]}]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [{**service("front"), "outbound": "deny", "upstreams": ["cards"]}]
    gateways = [{"name": "egress", "port": free_port()}]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services, gateways=gateways) as running:
        yield running


@pytest.fixture
def outside() -> Iterator[Outside]:
    with running_outside("127.0.0.31") as server:
        yield server


@contextmanager
def second_gateway(mesh: Mesh) -> Iterator[None]:
    """Another proxy of the gateway, by an agent of its own."""
    folder = mesh.state.parent / f"second-{time.monotonic_ns()}"
    folder.mkdir()
    token = folder / "token"
    mesh.run("token", "create", "--gateway", "egress", "--out", str(token))
    options = ["--gateway", "egress", "--instance", "egress-2", "--listener", "http=0", "--ready-port", "0"]
    files = ["--token-file", str(token), "--state", str(folder)]
    argv = [sys.executable, "-m", "meshwright.cli", "agent", *options, *files, "--control-plane", "127.0.0.1"]
    with starting(mesh, "egress-2", folder, argv, MESH_STATE=""):
        yield


def edges(mesh: Mesh) -> dict[tuple[str, str], Any]:
    return {(edge["from"], edge["to"]): edge for edge in api(mesh, "/api/v1/topology").json()["edges"]}


def test_calls_go_through_the_gateway_and_never_past_it(mesh: Mesh, outside: Outside) -> None:
    secret = policy("Authorization", "rules: [{action: deny, to: [{paths: [{value: /secret}]}]}]")
    policies = secret + policy("Timeout", "request: 20s") + policy("Retry", "attempts: 2, on: [5xx]")
    mesh.apply(static(outside, more=VIA) + policies)
    assert call(mesh).status == 200
    assert outside.requests[-1]["host"] == HOST
    assert not {name for name in outside.requests[-1] if name.startswith(("x-envoy", "x-forwarded-client"))}

    def shown() -> bool:
        call(mesh)
        seen = edges(mesh)
        return ("egress", "external/cards") in seen and seen.get(("front", "egress"), {}).get("mtls") is True

    until(shown, "both edges, the first with mutual TLS", every=0.5)
    assert ("front", "external/cards") not in edges(mesh)

    outside.statuses.append(418)
    assert call(mesh).status == 418
    outside.statuses.append(503)
    assert call(mesh).status == 200, "the second try"
    assert call(mesh, path="/secret").status == 403

    seen = len(outside.requests)
    mesh.apply(static(outside, more=VIA.replace("egress", "nobody")))
    until(lambda: "nobody/external/cards" in call(mesh).body, "the gateway's name in the response")
    refused = call(mesh)
    assert refused.status == 503
    until(lambda: "there is no Gateway nobody yet" in api(mesh, "/api/v1/status").text, "the condition")
    why = f"/api/v1/why/{refused.request_id}"
    until(lambda: "no instance of gateway nobody, which leads" in api(mesh, why).text, "the reason")
    assert len(outside.requests) == seen
    for kind in ("Authorization", "Timeout", "Retry"):
        mesh.run("delete", kind, "cards")


def test_gateway_opens_tls_passes_it_on_and_carries_connections(mesh: Mesh, tmp_path: Path) -> None:
    authority = PublicAuthority()
    context = authority.server_context(tmp_path, HOST)
    with running_outside("127.0.0.33", 0, context) as secure:
        mesh.apply(of(secure, f", tls: {{ca: {_quoted(authority.pem)}}}{VIA}"))
        assert call(mesh).status == 200
        ports = [
            f"{{port: 443, protocol: https, targetPort: {secure.port}}}",
            f"{{port: 5432, protocol: tcp, targetPort: {secure.port}}}",
        ]
        tls = f"tls: {{ca: {_quoted(authority.pem)}}}"
        spec = (
            f"hosts: [{HOST}], ports: [{', '.join(ports)}], endpoints: [{{address: {secure.address}}}], {tls}"
        )
        mesh.apply(document(f"{spec}{VIA}"))
        client = http.client.HTTPSConnection(
            "127.0.0.1",
            mesh.ports("front-1")["outbound"],
            context=ssl.create_default_context(cadata=authority.pem),
        )
        client.set_tunnel(HOST, 443)
        client.request("GET", "/private")
        assert client.getresponse().status == 200
        client.close()
        until(lambda: _over_tcp(mesh).startswith(b"HTTP/1.1 200"), "a response over the tcp port", every=0.5)


def test_gateway_refuses_a_caller_that_is_not_declared(mesh: Mesh, outside: Outside) -> None:
    mesh.apply(static(outside, more=f", from: [front]{VIA}"))
    assert call(mesh).status == 200
    seen = len(outside.requests)
    assert _first_status(mesh, "ingress") == 0
    refused = "gateway/ingress: it is none of the callers that the ExternalService names"
    until(lambda: refused in mesh.run("events", "-o", "json").stdout, "the event", every=0.5)
    assert len(outside.requests) == seen
    mesh.apply(static(outside, more=f", from: [front, ingress]{VIA}") + ROUTE)
    until(lambda: _first_status(mesh, "ingress") == 200, "it is declared")
    with _connected_as(mesh, "ingress") as connection:
        assert _status(connection) == 200
        mesh.apply(static(outside, more=f", from: [front]{VIA}"))
        assert _status(connection) == 403, "the connection stands, the request is refused"
    mesh.apply(static(outside, more=f", from: [front, ingress]{VIA}"))
    assert mesh.outside("/p", headers={"host": "shop.example"}).json()["host"] == HOST
    mesh.delete("HTTPRoute", "public")


@pytest.mark.parametrize(
    "seconds", [pytest.param(0, id="once"), pytest.param(60, id="minute", marks=pytest.mark.long)]
)
def test_switching_it_and_replacing_its_gateway_fails_no_request_and_cuts_no_stream(
    mesh: Mesh, outside: Outside, tmp_path: Path, seconds: float
) -> None:
    port = mesh.ports("front-1")["outbound"]
    mesh.apply(static(outside, more=VIA))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
        stream.sendall(f"GET http://{HOST}/stream HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        received, end = stream.recv(4096), time.monotonic() + seconds
        with load(tmp_path, f"http://127.0.0.1:{port}/x", f"Host: {HOST}") as result:
            while True:
                mesh.apply(static(outside))
                mesh.apply(static(outside, more=VIA))
                with second_gateway(mesh):
                    mesh.apply(static(outside, more=f", from: [front]{VIA}"))
                if time.monotonic() >= end:
                    break
        assert received.startswith(b"HTTP/1.1 200")
        until(lambda: _next_line(outside, stream), "a line of the stream")
    assert result.requests > 50
    assert result.failed == 0, result.report


def _next_line(server: Outside, stream: socket.socket) -> bytes:
    server.tick()
    return stream.recv(4096)


def _quoted(text: str) -> str:
    return '"' + text.replace("\n", "\\n") + '"'


def _over_tcp(mesh: Mesh) -> bytes:
    lines = Path(f"/proc/{mesh.pid('front-1')}/environ").read_text().split("\0")
    address = next(line for line in lines if line.startswith("CARDS_ADDRESS=")).partition("=")[2]
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(b"GET /tcp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(1000)
    except OSError:
        return b""


@contextmanager
def _connected_as(mesh: Mesh, name: str) -> Iterator[socket.socket]:
    """A connection to the gateway of a client with the SVID of this gateway."""
    folder = mesh.state / "sidecars" / name
    identity, bundle = ((folder / file).read_text() for file in ("identity.json", "bundle.json"))
    svid = parse_secrets(identity, bundle, f"spiffe://mesh.local/gateway/{name}")
    files = {"svid.pem": svid.certificate, "svid.key": svid.key}
    for file, text in files.items():
        (mesh.state.parent / file).write_text(text)
    context = ssl.create_default_context(cadata=svid.bundle)
    context.check_hostname = False
    context.load_cert_chain(mesh.state.parent / "svid.pem", mesh.state.parent / "svid.key")
    address = ("127.0.0.1", mesh.ports("egress")["inbound"])
    with (
        socket.create_connection(address, timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="80.cards.external.mesh") as connection,
    ):
        yield connection


def _status(connection: socket.socket) -> int:
    connection.sendall(f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def _first_status(mesh: Mesh, name: str) -> int:
    """The status of the first request on a connection; 0 if the gateway closes it."""
    with suppress(OSError, http.client.HTTPException), _connected_as(mesh, name) as connection:
        return _status(connection)
    return 0
