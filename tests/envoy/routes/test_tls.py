"""HTTPS and TLS at a gateway: certificates by host name, in files that come, change and break."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import trustme

from meshwright.control_plane.telemetry.requests.handshake import GATEWAY_REASONS
from tests.envoy.harness import Mesh, until
from tests.envoy.mesh_api import api, metrics
from tests.envoy.routes.certificates import (
    VAULT,
    TlsClient,
    certificate,
    echoed,
    folder,
    install,
    install_ca,
    negotiates,
    serves,
)
from tests.envoy.routes.conftest import LEDGER_PORT
from tests.envoy.routes.documents import (
    at,
    conditions,
    gateway,
    policy,
    route,
    rule,
    section,
    secure,
    tcp_backend,
)
from tests.envoy.steady_load import load
from tests.fakes.ports import free_port

CA, STRANGERS = trustme.CA(), trustme.CA()
CLIENT = TlsClient(CA)


HSTS = """
---
apiVersion: meshwright.io/v1
kind: HeaderPolicy
metadata: {name: hsts}
spec:
  targetRefs: [{kind: HTTPRoute, name: a}]
  response: {set: [{name: strict-transport-security, value: max-age=31536000}]}
"""


def listener(mesh: Mesh, name: str) -> dict[str, tuple[str, str]]:
    """The conditions of a listener of the ingress."""
    return conditions(next(item for item in policy(mesh, "ingress")["listeners"] if item["name"] == name))


def test_host_name_selects_certificate_and_routes(mesh: Mesh, applied: Any) -> None:
    port, plain = free_port(), free_port()
    leaves = {"a": CA.issue_cert("a.test"), "b": CA.issue_cert("*.b.test"), "c": CA.issue_cert("c.b.test")}
    for name, leaf in leaves.items():
        install(mesh, name, leaf)
    applied(
        gateway(
            "ingress",
            secure("a", port, "a.test", "a"),
            secure("b", port, "*.b.test", "b", "c"),
            f"{{name: web, port: {plain}, protocol: HTTP}}",
        )
        + "".join(certificate(name) for name in leaves)
        + route("a", section("a"), rule("a", "{}"))
        + route("b", section("b"), rule("b", "{}"))
        + route(
            "moved",
            section("web"),
            "{filters: [{type: RequestRedirect, requestRedirect: {scheme: https, port: 8443}}]}",
        )
        + HSTS
    )
    until(lambda: serves(port, "a.test", leaves["a"]), "the certificate of a")
    for host, name, label in (("a.test", "a", "a"), ("x.b.test", "b", "b"), ("c.b.test", "c", "b")):
        assert serves(port, host, leaves[name]), host
        status, body = CLIENT.get(port, host, headers={"x-forwarded-proto": "http", "host": host})
        headers = json.loads(body)["headers"]
        assert (status, headers["x-rule"], headers["x-forwarded-proto"]) == (200, label, "https"), host
    for host in ("other.test", "b.test", ""):  # no listener is for them
        with pytest.raises(OSError):
            TlsClient(None).serial(port, host)
    for host, header in (("a.test", "max-age=31536000"), ("x.b.test", None)):
        assert CLIENT.response(port, host)[0].headers["strict-transport-security"] == header
    assert CLIENT.get(port, "a.test", headers={"host": "x.b.test"})[0] == 421
    assert CLIENT.get(port, "a.test", headers={"host": "other.test"})[0] == 404
    with TlsClient(CA, alpn=("h2", "http/1.1")).connect(port, "a.test") as connection:
        assert connection.selected_alpn_protocol() == "h2"
    assert at(plain, "/x?y=1", "a.test").headers["location"] == "https://a.test:8443/x?y=1"
    assert {item["attached_routes"] for item in policy(mesh, "ingress")["listeners"]} == {1}


def test_certificates_that_are_missing_expired_or_broken_are_reported_and_stop_no_other(
    mesh: Mesh, applied: Any
) -> None:
    port, now = free_port(), datetime.now(UTC)
    past = CA.issue_cert("past.test", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))
    soon = CA.issue_cert("soon.test", not_before=now - timedelta(days=80), not_after=now + timedelta(days=1))
    for name, leaf in (("past", past), ("soon", soon)):
        install(mesh, name, leaf)
    names = ("late", "past", "soon", "nowhere")
    warnings = applied(
        gateway("ingress", *(secure(name, port, f"{name}.test", name) for name in names))
        + "".join(certificate(name) for name in names[:3])
        + route("all", "{name: ingress}", rule("all", "{}"))
    )
    assert [
        line for line in warnings if "listeners[3].tls.certificateRefs[0]: there is no Certificate" in line
    ]
    until(lambda: serves(port, "soon.test", soon), "the certificate of soon")
    assert CLIENT.get(port, "soon.test")[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        CLIENT.get(port, "past.test")
    for host in ("late.test", "nowhere.test"):
        with pytest.raises(OSError):
            CLIENT.get(port, host)

    def states() -> dict[str, tuple[str, str]]:
        return {name: conditions(policy(mesh, name)).get("ResolvedRefs", ("", "")) for name in names[:3]}

    expected = {
        name: ("False", reason)
        for name, reason in zip(names, ("Missing", "Expired", "Expiring"), strict=False)
    }
    until(lambda: states() == expected, f"{expected}, but {states()}")
    for name in ("late", "past", "nowhere"):
        assert listener(mesh, name)["ResolvedRefs"] == ("False", "InvalidCertificateRef"), name
        assert listener(mesh, name)["Programmed"] == ("False", "Invalid"), name
    assert listener(mesh, "soon")["Programmed"] == ("True", "Programmed")
    until(lambda: ("error", "past is expired") in event_texts(mesh), "an event of the expired certificate")
    late = CA.issue_cert("late.test")
    install(mesh, "late", late)
    until(lambda: serves(port, "late.test", late), "the certificate that came late")
    until(lambda: "ResolvedRefs" not in conditions(policy(mesh, "late")), "it is reported no longer")


def event_texts(mesh: Mesh) -> set[tuple[str, str]]:
    """Severity of each event about certificates, with the name and the state of the certificate."""
    events = api(mesh, "/api/v1/events?kind=certificate").json()["events"]
    heads = ((item["severity"], item["message"].partition(":")[0]) for item in events)
    return {(severity, head.removeprefix("Certificate ")) for severity, head in heads}


def test_rotation_broken_files_and_more_listeners_cost_no_request(mesh: Mesh, applied: Any) -> None:
    port = free_port()
    leaf = CA.issue_cert("r.test")
    install(mesh, "rotated", leaf)
    documents = certificate("rotated") + route("r", "{name: ingress}", rule("r", "{}"))
    every = secure("r", port, "", "rotated")
    applied(gateway("ingress", every) + documents)
    until(lambda: serves(port, "r.test", leaf), "the first certificate")
    with (
        CLIENT.connect(port, "r.test") as stream,
        stream.makefile("rwb") as lines,
        load(mesh.state, f"https://127.0.0.1:{port}/") as result,
    ):
        lines.write(b"GET /stream?seconds=3600 HTTP/1.1\r\nhost: r.test\r\n\r\n")
        lines.flush()
        for new in (CA.issue_cert("r.test") for _ in range(3)):
            install(mesh, "rotated", new)
            until(partial(serves, port, "r.test", new), "the next certificate")
            leaf = new
        (folder(mesh) / "rotated.crt").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n")
        until(
            lambda: conditions(policy(mesh, "rotated")).get("ResolvedRefs") == ("False", "Stale"), "reported"
        )
        assert serves(port, "r.test", leaf)
        applied(gateway("ingress", every, secure("more", port, "more.test", "rotated")))
        applied(gateway("ingress", every))
        leaf = CA.issue_cert("r.test")
        install(mesh, "rotated", leaf)
        until(lambda: serves(port, "r.test", leaf), "the certificate after the broken one")
        assert still_streams(lines), "a response that began with the first certificate"
    assert (result.failed, result.requests > 0) == (0, True), result.report


def still_streams(lines: io.BufferedRWPair) -> bool:
    """Whether more arrives than what can have been waiting in buffers."""
    mark = time.monotonic()
    return any(lines.readline() and time.monotonic() > mark + 1 for _ in range(100_000))


def test_passthrough_is_never_opened(mesh: Mesh, applied: Any) -> None:
    port = free_port()
    leaf = CA.issue_cert("a.test")
    install(mesh, "a", leaf)
    passed = f"{{name: pass, port: {port}, protocol: TLS, hostname: '*.test', tls: {{mode: Passthrough}}}}"
    tls_route = (
        route("vault", section("pass"), "{backendRefs: [{name: vault}]}", hostnames="[vault.test]")
        .replace("HTTPRoute", "TLSRoute")
        .replace("k8s.io/v1\n", "k8s.io/v1alpha3\n")
    )
    applied(
        gateway("ingress", passed, secure("a", port, "a.test", "a"))
        + certificate("a")
        + tls_route
        + route("a", section("a"), rule("a", "{}"))
    )
    until(lambda: serves(port, "a.test", leaf), "the certificate of a")
    with TlsClient(VAULT).connect(port, "vault.test") as connection, connection.makefile("rwb") as lines:
        assert lines.readline() == b"vault-1 vault.test\n"
        lines.write(b"hello\n")
        lines.flush()
        assert lines.readline() == b"hello\n"
    for client, host in ((TlsClient(VAULT), "other.test"), (TlsClient(CA), "vault.test")):
        with pytest.raises(OSError), client.connect(port, host):
            pass
    assert CLIENT.get(port, "a.test")[0] == 200
    assert conditions(policy(mesh, "vault"))["Programmed"] == ("True", "Programmed")
    (entry,) = (item for item in policy(mesh, "ingress")["listeners"] if item["name"] == "pass")
    assert (entry["attached_routes"], entry["supported_kinds"]) == (1, ["TLSRoute"])


DENIED = """
---
apiVersion: meshwright.io/v1
kind: Authorization
metadata: {name: no-rows}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: ingress, sectionName: rows}]
  rules: [{action: deny}]
"""


def test_connections_end_tls_at_the_gateway_and_each_refused_one_is_told(mesh: Mesh, applied: Any) -> None:
    port, leaf = free_port(), CA.issue_cert("*.t.test")
    install(mesh, "t", leaf)
    listeners = [secure(name, port, host, "t", protocol="TLS") for name, host in TERMINATED.items()]
    applied(
        gateway("ingress", *listeners)
        + certificate("t")
        + tcp_backend("TCPRoute", "rows", section("rows"), LEDGER_PORT)
        + tcp_backend("TLSRoute", "some", section("any"), LEDGER_PORT, "hostnames: [some.t.test], ")
    )
    until(lambda: serves(port, "some.t.test", leaf), "the certificate")
    for host in ("rows.t.test", "some.t.test"):
        assert echoed(CLIENT, port, host) == b"ledger-1: hello\n", host
    applied(DENIED)

    until(lambda: echoed(CLIENT, port, "rows.t.test") == b"", "the listener refuses everyone")
    assert echoed(CLIENT, port, "some.t.test") == b"ledger-1: hello\n"
    for client, host in ((CLIENT, "t.test"), (TlsClient(STRANGERS), "some.t.test")):
        with pytest.raises(OSError):
            echoed(client, port, host)
    with socket.create_connection(("127.0.0.1", port), 30) as plain, contextlib.suppress(ConnectionError):
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert plain.recv(1) == b""
    # An event waits for a minute where this gateway refused much within the last one.
    for text in ("Authorization/no-rows refused", *(GATEWAY_REASONS[reason] for reason in REFUSED)):
        until(partial(has_event, mesh, text), f"an event: {text}", within=180, every=1.0)
    for reason in REFUSED:
        labels = json.dumps({"reason": reason, "service": "ingress"})
        assert metrics(mesh)[f"mesh_connections_refused_total{labels}"] >= 1, reason


TERMINATED = {"rows": "rows.t.test", "any": "*.t.test"}
REFUSED = ("unknown-host", "distrust", "plaintext")


def has_event(mesh: Mesh, text: str) -> bool:
    """Whether an event about refusals of the ingress has this text."""
    events = api(mesh, "/api/v1/events?kind=refusal").json()["events"]
    return any("ingress" in event["subject"] and text in event["message"] for event in events)


def test_private_keys_stay_on_their_node(mesh: Mesh, applied: Any) -> None:
    port = free_port()
    leaf = CA.issue_cert("a.test")
    install(mesh, "a", leaf)
    applied(gateway("ingress", secure("a", port, "a.test", "a")) + certificate("a"))
    until(lambda: serves(port, "a.test", leaf), "the certificate of a")
    secret = leaf.private_key_pem.bytes().decode().splitlines()[1]
    for path in ("/api/v1/policies", "/api/v1/status", "/api/v1/proxies", "/api/v1/proxies/ingress/config"):
        assert secret not in api(mesh, path).text, path
    assert secret not in mesh.log("agent") + mesh.log("ingress.proxy") + mesh.log("control-plane")
    assert secret.encode() not in b"".join(
        file.read_bytes() for file in (mesh.state / "store").rglob("*") if file.is_file()
    )


CLIENTS, PARTNERS = trustme.CA(), trustme.CA()
ALICE, BOB = CLIENTS.issue_cert("alice@x.test"), PARTNERS.issue_cert("bob@x.test")
MALLORY = STRANGERS.issue_cert("mallory@x.test")
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
PAST = CLIENTS.issue_cert("past@x.test", not_before=YESTERDAY - timedelta(days=9), not_after=YESTERDAY)
CLIENT_CA = "caCertificateRefs: [{cas}]".format(
    cas=", ".join(
        f"{{group: meshwright.io, kind: Certificate, name: {name}}}" for name in ("clients", "partners")
    )
)


def client_listeners(ports: dict[str, int]) -> str:
    """A Gateway with a listener for each way to treat client certificates."""
    insecure = f", frontendValidation: {{{CLIENT_CA}, mode: AllowInsecureFallback}}"
    option = ", options: {meshwright.io/client-certificate: Optional}"
    frontend = (
        f"tls: {{frontend: {{default: {{validation: {{{CLIENT_CA}}}}}, "
        f"perPort: [{{port: {ports['none']}, tls: {{}}}}]}}}}, listeners"
    )
    return gateway(
        "ingress",
        secure("required", ports["required"], "", "a"),
        secure("optional", ports["optional"], "", "a", more=option),
        secure("insecure", ports["insecure"], "", "a", more=insecure),
        secure("none", ports["none"], "", "a"),
    ).replace("listeners", frontend, 1)


def identity(port: int, client: trustme.LeafCert | None) -> str:
    """What the app learns about the client; `refused` if the gateway does not talk to it."""
    forged = {"x-forwarded-client-cert": "URI=spiffe://mesh.local/service/admin"}
    try:
        status, body = TlsClient(CA, client).get(port, "a.test", headers=forged)
    except OSError:
        return "refused"
    header = json.loads(body)["headers"]["x-forwarded-client-cert"]
    assert (status, "admin" in header) == (200, False)
    assert header.endswith("URI=spiffe://mesh.local/gateway/ingress")
    first, _, gateway_entry = header.rpartition(",By=")
    return first if gateway_entry and first else "unknown"


def accepts(port: int, client: trustme.LeafCert) -> bool:
    return identity(port, client) != "refused"


def test_client_certificates_are_verified_and_forwarded(mesh: Mesh, applied: Any) -> None:
    leaf = CA.issue_cert("a.test")
    install(mesh, "a", leaf)
    install_ca(mesh, "clients", CLIENTS)
    install_ca(mesh, "partners", PARTNERS)
    ports = {mode: free_port() for mode in ("required", "optional", "insecure", "none")}
    applied(
        client_listeners(ports)
        + certificate("a")
        + certificate("clients", caFile="clients.pem")
        + certificate("partners", caFile="partners.pem")
        + route("all", "{name: ingress}", rule("all", "{}"))
    )
    for port in ports.values():
        until(partial(accepts, port, ALICE), "the certificate of each port")
    for mode in ("required", "optional"):
        assert all('Subject="' in identity(ports[mode], who) for who in (ALICE, BOB)), mode
        assert all(identity(ports[mode], who) == "refused" for who in (MALLORY, PAST)), mode
    assert identity(ports["required"], None) == "refused"
    unknown = [("optional", None), ("none", ALICE), *(("insecure", who) for who in (None, ALICE, MALLORY))]
    for mode, client in unknown:
        assert identity(ports[mode], client) == "unknown", mode
    for reason in ("untrusted", "no-certificate"):
        until(partial(has_event, mesh, GATEWAY_REASONS[reason]), f"an event: {reason}")


VERSIONS = {
    "-tls1": False,
    "-tls1_1": False,
    "-tls1_2": True,
    "-tls1_3": True,
    "-tls1_2 -cipher AES128-GCM-SHA256": False,
    "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA": False,
    "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384": True,
    "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305": True,
}


def test_old_versions_and_weak_ciphers_are_refused(mesh: Mesh, applied: Any) -> None:
    port, newer, leaf = free_port(), free_port(), CA.issue_cert("a.test")
    install(mesh, "a", leaf)
    only = ", options: {meshwright.io/minimum-version: '1.3'}"
    listeners = secure("a", port, "a.test", "a"), secure("b", newer, "a.test", "a", more=only)
    applied(gateway("ingress", *listeners) + certificate("a"))
    for listening in (port, newer):
        until(partial(serves, listening, "a.test", leaf), "the certificate of a")
    assert {arguments: negotiates(port, arguments) for arguments in VERSIONS} == VERSIONS
    assert [negotiates(newer, version) for version in ("-tls1_2", "-tls1_3")] == [False, True]
    every = ["openssl", "ciphers", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    names = subprocess.run(every, capture_output=True, text=True, check=True).stdout.strip().split(":")
    good = ("ECDHE-ECDSA-AES128-GCM", "ECDHE-ECDSA-AES256-GCM", "ECDHE-ECDSA-CHACHA20", "TLS_")
    weak = [name for name in names if not name.startswith(good)]
    assert len(weak) > 30
    assert not negotiates(port, f"-tls1_2 -cipher {':'.join(weak)}")
