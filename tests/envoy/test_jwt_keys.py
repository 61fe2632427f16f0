"""Keys of a JWTAuthentication from hosts outside the mesh: away at the start, and over TLS."""

from __future__ import annotations

import http.server
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.test_jwt import GATEWAY, KEYS, ROUTE, bearer, issuer, policy, valid
from tests.fakes.ports import free_port

pytestmark = pytest.mark.long

SERVICE = "{kind: Service, name: back}"


def write_certificate(folder: Path, host: str) -> tuple[Path, str]:
    """A certificate of a host that is its own authority: the file with its key, and the PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    path = folder / f"{host}.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_text(secret.decode() + pem)
    return path, pem


@contextmanager
def key_server(port: int, certificate: Path | None = None) -> Iterator[list[str]]:
    """A host outside the mesh with the key set; yields the paths that were requested."""
    requested: list[str] = []

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(KEYS)))
            self.end_headers()
            self.wfile.write(KEYS.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Keys)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield requested
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front"), service("back")]) as running:
        running.apply(ROUTE)
        yield running


def outside(mesh: Mesh, text: str = "") -> int:
    return mesh.outside("/echo", headers=bearer(text) if text else {}).status_code


def inside(mesh: Mesh, text: str = "") -> int:
    return mesh.get("front-1", "http://back/echo", headers=bearer(text) if text else {}).status_code


@pytest.mark.parametrize(
    ("target", "call", "proxy"), [(GATEWAY, outside, "ingress"), (SERVICE, inside, "back-1")]
)
def test_a_proxy_that_starts_while_the_keys_are_away_refuses_and_recovers_by_itself(
    mesh: Mesh, target: str, call: Any, proxy: str
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/keys"
    mesh.apply(policy("outside", target, issuer(url)))
    assert call(mesh, valid()) == 401
    with key_server(port) as requested:
        until(lambda: call(mesh, valid()) == 200, "the keys are fetched", 90)
        # Each worker, one for a core, may fetch once for a request; the fetches after that are for all.
        until(lambda: len(requested) > 2 + (os.cpu_count() or 1), "every worker has the keys", 90)
        assert call(mesh) == 401
    assert call(mesh, valid()) == 200, "known keys stay in use"
    mesh.delete("JWTAuthentication", "outside")


def test_keys_over_tls_come_only_from_a_host_that_proves_its_name(mesh: Mesh, tmp_path: Path) -> None:
    certificate, pem = write_certificate(tmp_path, "localhost")
    _, other = write_certificate(tmp_path, "other.test")
    port = free_port()
    source = {"url": f"https://localhost:{port}/keys", "refresh": "6s"}

    def apply(ca: str) -> None:
        jwks = {**source, **({"ca": ca} if ca else {})}
        mesh.apply(policy("tls", GATEWAY, {**issuer(), "jwks": jwks}))

    with key_server(port, certificate):
        apply(pem)
        until(lambda: outside(mesh, valid()) == 200, "the keys are fetched", 90)
        for untrusted in (other, ""):
            apply(untrusted)
            failures = "http.ingress.jwt_authn.jwks_fetch_failed"
            before = counter(mesh, failures)
            until(lambda: counter(mesh, failures) > before + 2, "fetches fail", 90)  # noqa: B023
            assert outside(mesh, valid()) == 401
    mesh.delete("JWTAuthentication", "tls")


def counter(mesh: Mesh, name: str) -> int:
    text = mesh.run("proxy", "ingress", "stats", "--filter", f"^{name}$").stdout
    return int(text.split()[-1]) if name in text else 0
