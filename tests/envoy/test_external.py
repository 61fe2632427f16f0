"""ExternalService under traffic: declared hosts outside, with DNS, TLS, policies and `outbound: deny`."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.http_cases import END
from tests.envoy.mesh_api import api
from tests.envoy.outside_world import (
    HOST,
    World,
    backend_tls,
    call,
    copy_files,
    document,
    is_reported,
    of,
    policy,
    server_of,
    static,
    status_becomes,
)
from tests.envoy.raw_http import exchange, parse
from tests.envoy.steady_load import load
from tests.fakes.dns_server import DnsRecords, running_dns_server
from tests.fakes.outside_server import Outside, PublicAuthority, running_outside


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, authority = tmp_path_factory.mktemp("pki"), PublicAuthority()
    good = authority.server_context(folder, HOST)
    bad = authority.server_context(folder, "other.example")
    mutual = authority.server_context(folder, HOST, client_ca=authority.pem)
    dns = DnsRecords({HOST: ["127.0.0.21"], "else.example": ["127.0.0.21"]})
    with ExitStack() as stack:
        first = stack.enter_context(running_outside("127.0.0.21"))
        second = stack.enter_context(running_outside("127.0.0.22", first.port))
        contexts = (good, bad, mutual)
        secure, impostor, careful = (
            stack.enter_context(running_outside("127.0.0.23", 0, context)) for context in contexts
        )
        stack.enter_context(running_dns_server(dns))
        files = authority.files(folder, "client.example")
        yield World(first, second, secure, impostor, careful, dns, authority, files)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [
        service("front"),
        {**service("locked"), "outbound": "deny", "upstreams": ["cards"]},
    ]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        yield running


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Any]:
    """Apply documents; they are deleted after the test."""
    documents: dict[str, str] = {}

    def apply(*texts: str) -> None:
        mesh.apply("".join(texts))
        documents.update((text.partition(", spec: ")[0], text) for text in texts)

    yield apply
    mesh.run("delete", "-f", "-", "--wait", stdin="".join(documents.values()))


def test_static_endpoints_answer_for_the_host(mesh: Mesh, outside: World, applied: Any) -> None:
    applied(static(outside.first, outside.second))
    servers = {server_of(call(mesh)) for _ in range(30)}
    assert servers == {"127.0.0.21", "127.0.0.22"}
    assert json.loads(call(mesh).body)["host"] == HOST


def test_change_in_dns_is_followed(mesh: Mesh, outside: World, applied: Any) -> None:
    outside.dns.addresses[HOST] = ["127.0.0.21"]
    applied(
        document(
            f"hosts: [{HOST}], ports: [{{port: 80, targetPort: {outside.first.port}}}],"
            f" resolvers: ['127.0.0.1:{outside.dns.port}']"
        )
    )
    assert server_of(call(mesh)) == "127.0.0.21"
    outside.dns.addresses[HOST] = ["127.0.0.22"]
    until(lambda: server_of(call(mesh)) == "127.0.0.22", "the new address")


def test_tls_is_opened_and_a_wrong_name_refused(mesh: Mesh, outside: World, applied: Any) -> None:
    tls = f", tls: {{ca: {outside.ca}}}"
    applied(of(outside.secure, tls))
    assert call(mesh).status == 200
    applied(of(outside.impostor, tls))
    refused = call(mesh)
    assert refused.status == 503
    why = f"/api/v1/why/{refused.request_id}"
    until(lambda: "CERTIFICATE_VERIFY_FAILED" in api(mesh, why).text, "the reason")


def test_authorities_in_a_file_are_read_again_and_other_names_accepted(
    mesh: Mesh, outside: World, applied: Any
) -> None:
    folder = mesh.state / "certificates"
    folder.mkdir(exist_ok=True)
    ca = document("caFile: cards.pem").replace("ExternalService", "Certificate")
    applied(of(outside.secure), ca, backend_tls())
    assert call(mesh).status == 503, "there is no file"
    until(lambda: is_reported(mesh, "cards.pem"), "the missing file is reported")
    (folder / "cards.pem").write_text(PublicAuthority("another").pem)
    until(lambda: not is_reported(mesh, "cards.pem"), "the file is used")
    assert call(mesh).status == 503, "the server is not of this authority"
    (folder / "cards.pem").write_text(outside.authority.pem)
    status_becomes(mesh, 200)
    applied(of(outside.impostor))
    assert call(mesh).status == 503
    applied(backend_tls(", subjectAltNames: [{type: Hostname, hostname: other.example}]"))
    status_becomes(mesh, 200)


def test_a_client_certificate_is_read_again(mesh: Mesh, outside: World, applied: Any, tmp_path: Path) -> None:
    files = tmp_path / "client.pem", tmp_path / "client.key"
    copy_files(PublicAuthority("another").files(tmp_path, "stranger.example"), files)
    client = f"clientCertificate: {{certificate: {files[0]}, privateKey: {files[1]}}}"
    applied(of(outside.mutual, f", tls: {{ca: {outside.ca}, {client}}}"))
    assert call(mesh).status == 503, "nobody outside knows this certificate"
    copy_files(outside.files, files)
    status_becomes(mesh, 200)
    files[1].unlink()
    until(lambda: is_reported(mesh, "the one before is still used"), "the loss is reported")
    assert call(mesh).status == 200, "the certificate before is still used"


def test_exact_host_wins_over_a_wildcard_that_the_proxy_uses_already(
    mesh: Mesh, outside: World, applied: Any
) -> None:
    ports = f"ports: [{{port: 80, targetPort: {outside.first.port}}}]"
    wild = document(f"hosts: ['*.wild.example'], {ports}, endpoints: [{{address: 127.0.0.21}}]", "wild")
    exact = document(f"hosts: [b.wild.example], {ports}, endpoints: [{{address: 127.0.0.22}}]", "exact")
    applied(wild)
    assert server_of(call(mesh, "a.wild.example")) == server_of(call(mesh, "b.wild.example")) == "127.0.0.21"
    applied(exact)
    assert server_of(call(mesh, "a.wild.example")) == "127.0.0.21"
    assert server_of(call(mesh, "b.wild.example")) == "127.0.0.22"


def test_networks_are_resolved_as_they_are_called_but_not_to_loopback(
    mesh: Mesh, outside: World, applied: Any
) -> None:
    port = outside.first.port
    applied(document(f"addresses: [127.0.0.0/27], ports: [{{port: {port}}}]"))
    assert server_of(call(mesh, f"127.0.0.22:{port}", "locked-1")) == "127.0.0.22"
    tunnel = f"CONNECT 127.0.0.21:{port} HTTP/1.1\r\nHost: 127.0.0.21:{port}\r\n\r\n"
    inside = exchange(
        mesh.ports("locked-1")["outbound"], tunnel, f"GET /t HTTP/1.1\r\nHost: 127.0.0.21:{port}\r\n{END}"
    )
    assert server_of(parse(inside.body)) == "127.0.0.21"
    assert call(mesh, f"127.0.0.1:{port}", "locked-1").status == 403
    assert "outbound: deny" in call(mesh, f"127.0.0.32:{port}", "locked-1").body


def test_denied_service_reaches_declared_hosts_alone(mesh: Mesh, outside: World, applied: Any) -> None:
    port, listener = outside.first.port, mesh.ports("locked-1")["outbound"]
    literal = f"127.0.0.21:{port}"
    applied(static(outside.first))
    assert call(mesh, caller="locked-1").status == 200
    for host in ("else.example", literal, f"{HOST}:8080", f"x.{HOST}", f"[::1]:{port}"):
        assert call(mesh, host, "locked-1").status in (403, 404), host
        authority = host if ":" in host else f"{host}:443"
        refused = exchange(listener, f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{END}")
        assert refused.status in (403, 404), authority
    # The routes inside a tunnel are the same.
    tunnel = f"CONNECT {HOST}:80 HTTP/1.1\r\nHost: {HOST}:80\r\n\r\n"
    inside = exchange(listener, tunnel, f"GET / HTTP/1.1\r\nHost: {literal}\r\n{END}")
    assert parse(inside.body).status == 403
    address = upstream_address(mesh)
    with suppress(ConnectionResetError), socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(1000) == b""


def upstream_address(mesh: Mesh) -> tuple[str, int]:
    """Where locked-1 finds its upstream `cards`."""
    lines = Path(f"/proc/{mesh.pid('locked-1')}/environ").read_text().split("\0")
    address = next(line for line in lines if line.startswith("CARDS_ADDRESS=")).partition("=")[2]
    host, _, port = address.rpartition(":")
    return host, int(port)


def test_tcp_port_is_an_upstream(mesh: Mesh, outside: World, applied: Any) -> None:
    applied(
        document(
            f"hosts: [{HOST}], ports: [{{port: 5432, protocol: tcp, targetPort: {outside.secure.port}}}],"
            f" endpoints: [{{address: {outside.secure.address}}}], tls: {{ca: {outside.ca}}}"
        )
    )

    def is_tcp() -> bool:
        received, address = b"", upstream_address(mesh)
        with suppress(OSError), socket.create_connection(address, timeout=60) as connection:
            connection.sendall(b"GET /tcp HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            received = connection.recv(1000)
        edge = edge_to(mesh, "locked", "external/cards")
        answered = received.startswith(b"HTTP/1.1 200")
        return answered and bool(edge) and edge["protocol"] == "tcp"

    until(is_tcp, "an edge of connections", every=0.5)


def edge_to(mesh: Mesh, caller: str, callee: str) -> Any:
    edges = api(mesh, "/api/v1/topology").json()["edges"]
    return next((edge for edge in edges if (edge["from"], edge["to"]) == (caller, callee)), None)


def test_https_is_counted_by_host_and_not_opened(mesh: Mesh, outside: World, applied: Any) -> None:
    applied(
        document(
            f"hosts: [{HOST}], ports: [{{port: 443, protocol: https, targetPort: {outside.secure.port}}}],"
            f" endpoints: [{{address: 127.0.0.99}}, {{address: {outside.secure.address}}}]"
        )
    )
    context = ssl.create_default_context(cadata=outside.authority.pem)

    def edge() -> Any:
        client = http.client.HTTPSConnection("127.0.0.1", mesh.ports("front-1")["outbound"], context=context)
        client.set_tunnel(HOST, 443)
        client.request("GET", "/private")
        assert client.getresponse().status == 200
        client.close()
        return edge_to(mesh, "front", "external/cards")

    assert until(edge, "the edge", every=0.5)["mtls"] is False
    plain = call(mesh, f"{HOST}:443")
    assert plain.status == 400
    assert "declared as https by ExternalService/cards" in plain.body


def test_only_named_services_have_the_host(mesh: Mesh, outside: World, applied: Any) -> None:
    applied(static(outside.first, more=", from: [front]"))
    assert call(mesh).status == 200
    assert call(mesh, caller="locked-1").status == 403
    applied(static(outside.first, more=", from: [locked]"))
    assert call(mesh, caller="locked-1").status == 200
    assert call(mesh).status == 503, "no longer declared for front, the host is one that DNS does not know"


def test_policies_of_an_external_host_are_in_force(mesh: Mesh, outside: World, applied: Any) -> None:
    first, second = outside.first, outside.second
    applied(
        static(first, second),
        policy("Retry", "attempts: 1, on: [503]"),
        policy("CircuitBreaker", "consecutiveFailures: 3, openFor: 10m"),
        policy("HeaderPolicy", "request: {set: [{name: x-key, value: secret}]}"),
    )
    assert json.loads(call(mesh).body)["x-key"] == "secret"
    first.statuses.extend([503] * 1000)

    def ejected() -> bool:
        assert call(mesh).status == 200, "a retry reaches the other address"
        breakers = api(mesh, "/api/v1/status").json()["breakers"]
        return any((item["to"], item["state"]) == ("external/cards", "partial") for item in breakers)

    until(ejected, "the failing address to be ejected")
    targeting = api(mesh, "/api/v1/services/external%2Fcards/policies").json()["policies"]
    assert [item["kind"] for item in targeting] == ["CircuitBreaker", "HeaderPolicy", "Retry"]
    assert api(mesh, "/api/v1/topology/front/external%2Fcards").json()["points"]
    first.statuses.clear()
    before = len(first.requests)
    assert {server_of(call(mesh)) for _ in range(10)} == {second.address}
    assert len(first.requests) == before
    applied(policy("FaultInjection", "abort: {status: 418}"))
    assert call(mesh).status == 418


def test_authorization_decides_about_requests_and_tunnels(mesh: Mesh, outside: World, applied: Any) -> None:
    port = outside.first.port
    applied(
        document(
            f"hosts: [{HOST}], endpoints: [{{address: {outside.first.address}}}],"
            f" ports: [{{port: 80, targetPort: {port}}}, {{port: 443, protocol: https, targetPort: {port}}}]"
        ),
        policy("Authorization", "rules: [{to: [{methods: [GET], paths: [{type: PathPrefix, value: /v1}]}]}]"),
    )
    assert call(mesh, path="/v1/cards").status == 200
    for path in ("/v2/cards", "/v1/../v2/cards", "/v1%2f..%2fv2"):
        refused = call(mesh, path=path)
        assert refused.status == 403, path
        assert "RBAC: access denied" in refused.body
    tunnel = f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n{END}"
    assert exchange(mesh.ports("front-1")["outbound"], tunnel).status == 403


def test_rate_limit_counts_what_a_sidecar_sends(mesh: Mesh, outside: World, applied: Any) -> None:
    limit = policy("RateLimit", "limits: [{requests: 3, per: 1h}]")
    applied(static(outside.first), limit)
    assert [call(mesh).status for _ in range(4)] == [200, 200, 200, 429]
    assert [call(mesh, caller="locked-1").status for _ in range(4)] == [200, 200, 200, 429]
    assert "RateLimit/cards" in call(mesh).body
    together = policy("RateLimit", "scope: global, onFailure: deny, limits: [{requests: 5, per: 1h}]")
    applied(together)
    statuses = Counter(call(mesh, caller=name).status for name in ("front-1", "locked-1") * 10)
    # What cannot be counted in time on a busy machine is 503, and may take a token.
    assert statuses.keys() <= {200, 429, 503} and statuses[429], statuses
    assert statuses[200] == 5 or (statuses[503] and statuses[200] < 5), statuses


def test_first_request_ever_to_a_host_is_under_its_policies(mesh: Mesh, outside: World, applied: Any) -> None:
    """Such filters are disabled where nothing configures them, and Envoy picks filters once for a request."""
    server = outside.first
    kinds = {
        "Authorization": ("rules: [{to: [{methods: [PUT]}]}]", 403),
        "RateLimit": ("limits: [{requests: 1, per: 1h}]", 429),
    }
    for kind, (spec, refused) in kinds.items():
        name = f"fresh-{kind.lower()}"
        host = f"{name}.example"
        ports = (
            f"ports: [{{port: 80, targetPort: {server.port}}}], endpoints: [{{address: {server.address}}}]"
        )
        target = f"targetRefs: [{{kind: ExternalService, name: {name}}}]"
        head = f"apiVersion: meshwright.io/v1, kind: {kind}, metadata: {{name: {name}}}"
        applied(document(f"hosts: [{host}], {ports}", name), f"---\n{{{head}, spec: {{{target}, {spec}}}}}\n")
        statuses = [call(mesh, host).status for _ in range(2)]
        assert statuses == [403 if kind == "Authorization" else 200, refused], kind


def test_dead_address_is_found_by_a_health_check(mesh: Mesh, outside: World, applied: Any) -> None:
    applied(
        document(
            f"hosts: [{HOST}], ports: [{{port: 80, targetPort: {outside.first.port}}}],"
            " endpoints: [{address: 127.0.0.99}, {address: 127.0.0.21}]"
        ),
        policy("HealthCheck", "http: {path: /health}, interval: 200ms, unhealthyThreshold: 1"),
    )
    call(mesh)
    probes = until(lambda: [seen for seen in outside.first.requests if seen["path"] == "/health"], "a probe")
    assert probes[0]["host"] == HOST
    assert {server_of(call(mesh)) for _ in range(20)} == {"127.0.0.21"}


def test_gateway_leads_to_a_host_outside_under_its_own_name(mesh: Mesh, outside: World, applied: Any) -> None:
    applied(
        static(outside.first),
        "---\n{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: public},"
        " spec: {parentRefs: [{name: ingress}], rules: [{backendRefs:"
        " [{group: meshwright.io, kind: ExternalService, name: cards}]}]}}\n",
    )
    assert mesh.outside("/p", headers={"host": "shop.example"}).json()["host"] == HOST
    until(lambda: edge_to(mesh, "ingress", "external/cards"), "the edge from the gateway", every=0.5)


@pytest.mark.parametrize(
    "seconds", [pytest.param(0, id="twice"), pytest.param(60, id="minute", marks=pytest.mark.long)]
)
def test_turning_it_on_off_and_over_fails_no_request_and_cuts_no_stream(
    mesh: Mesh, outside: World, applied: Any, tmp_path: Path, seconds: float
) -> None:
    first, second = outside.first, outside.second
    port = mesh.ports("front-1")["outbound"]
    authority = first.authority
    spec = f"addresses: [{first.address}], ports: [{{port: {first.port}}}]"
    applied(document(spec))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
        stream.sendall(f"GET /stream HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        received = stream.recv(4096)
        end, rounds = time.monotonic() + seconds, 0
        with load(tmp_path, f"http://127.0.0.1:{port}/x", f"Host: {authority}") as result:
            while rounds < 2 or time.monotonic() < end:
                rounds += 1
                mesh.delete("ExternalService", "cards")
                mesh.apply(document(spec))
                mesh.apply(document(f"{spec}, endpoints: [{{address: {second.address}}}]"))
                mesh.apply(document(spec) + policy("Timeout", "request: 20s"))
                mesh.delete("Timeout", "cards")
        until(lambda: _next_line(outside.first, stream), "a line of the stream")
    assert received.startswith(b"HTTP/1.1 200")
    assert result.requests > 100
    assert result.failed == 0, result.report


def _next_line(server: Outside, stream: socket.socket) -> bytes:
    server.tick()
    return stream.recv(4096)
