"""A server that is not in the mesh: HTTP or HTTPS on an address of loopback, in a thread."""

from __future__ import annotations

import datetime
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fakes.pki import key_pem


@dataclass
class Outside:
    """A running server. `statuses` are those of the next responses, 200 afterwards; `requests` is what came.

    A request of /stream is answered by a line each time that `tick` is called, until the client leaves.
    """

    address: str
    port: int = 0
    statuses: list[int] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    _ticks: threading.Condition = field(default_factory=threading.Condition)
    _count: int = 0

    @property
    def authority(self) -> str:
        """`address:port`."""
        return f"{self.address}:{self.port}"

    def tick(self) -> None:
        """Let each stream send a line."""
        with self._ticks:
            self._count += 1
            self._ticks.notify_all()

    def wait_for_tick(self, seen: int) -> int:
        """The number of ticks, once it is above `seen`."""
        with self._ticks:
            self._ticks.wait_for(lambda: self._count > seen)
            return self._count


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: some tests break off handshakes and streams."""


def _handler(outside: Outside) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # the body would wait 40 ms for the ACK of the headers

        def do_GET(self) -> None:
            if self.path == "/stream":
                self._stream()
                return
            length = int(self.headers.get("content-length") or 0)
            self.rfile.read(length)
            seen = {"server": outside.address, "path": self.path, "method": self.command} | {
                name.lower(): value for name, value in self.headers.items()
            }
            outside.requests.append(seen)
            body = json.dumps(seen).encode()
            self.send_response(outside.statuses.pop(0) if outside.statuses else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

        def _stream(self) -> None:
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            ticks = 0
            try:
                while True:
                    self.wfile.write(f"{ticks}\n".encode())
                    self.wfile.flush()
                    ticks = outside.wait_for_tick(ticks)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


@contextmanager
def running_outside(address: str, port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[Outside]:
    """A server at `address`; it tells what it saw of each request."""
    outside = Outside(address)
    server = _Server((address, port), _handler(outside))
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    outside.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield outside
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class PublicAuthority:
    """A certificate authority as the outside world has them, with its PEM certificate."""

    name: str = "outside"

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = self._builder(self._subject, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.pem = _pem(builder.sign(self._key, hashes.SHA256()))

    def server_context(self, folder: Path, host: str, *, client_ca: str = "") -> ssl.SSLContext:
        """The context of a server that is `host`; with `client_ca` it demands client certificates."""
        certificate, key = self.files(folder, host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=client_ca)
        return context

    def files(self, folder: Path, host: str) -> tuple[Path, Path]:
        """A certificate for `host` and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        builder = self._builder(subject, key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
        )
        certificate = folder / f"{host}.pem"
        certificate.write_text(_pem(builder.sign(self._key, hashes.SHA256())))
        key_file = folder / f"{host}.key"
        key_file.write_bytes(key_pem(key))
        return certificate, key_file

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
