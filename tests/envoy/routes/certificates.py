"""Certificates in the folder of a mesh, and clients of TLS."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509

from tests.envoy.harness import Mesh

VAULT = trustme.CA()
"""Signs the certificate of the app that speaks TLS itself."""


def write(leaf: trustme.LeafCert, path: Path) -> None:
    """Write PATH.crt and PATH.key, one after the other, as programs do that renew certificates."""
    for end, blobs in ((".crt", leaf.cert_chain_pems), (".key", [leaf.private_key_pem])):
        file = path.with_name(path.name + end)
        temporary = file.with_suffix(".new")
        temporary.write_bytes(b"".join(blob.bytes() for blob in blobs))
        temporary.replace(file)


def install(mesh: Mesh, name: str, leaf: trustme.LeafCert) -> None:
    """Write a certificate where the gateways of a mesh look for it."""
    write(leaf, folder(mesh) / name)


def install_ca(mesh: Mesh, name: str, ca: trustme.CA) -> None:
    """Write a CA as `NAME.pem`."""
    (folder(mesh) / f"{name}.pem").write_bytes(ca.cert_pem.bytes())


def folder(mesh: Mesh) -> Path:
    """The folder of certificates of a mesh."""
    path = mesh.state / "certificates"
    path.mkdir(exist_ok=True)
    return path


def certificate(name: str, **spec: str) -> str:
    """A Certificate document."""
    fields = ", ".join(f"{key}: {value}" for key, value in spec.items())
    return f"""
---
apiVersion: meshwright.io/v1
kind: Certificate
metadata: {{name: {name}}}
spec: {{{fields}}}
"""


@dataclass
class TlsClient:
    """A client that trusts `ca` alone (None: everybody), with the certificate `leaf` if it has one."""

    ca: trustme.CA | None
    leaf: trustme.LeafCert | None = None
    alpn: tuple[str, ...] = ()

    @contextmanager
    def connect(self, port: int, host: str) -> Iterator[ssl.SSLSocket]:
        """A connection to a port of loopback for a host (SNI; empty: none); raises OSError, ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca is None or not host:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.ca is not None:
            self.ca.configure_trust(context)
        if self.leaf is not None:
            self.leaf.configure_cert(context)
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        with (
            socket.create_connection(("127.0.0.1", port), 30) as plain,
            context.wrap_socket(plain, server_hostname=host or None) as secure,
        ):
            yield secure

    def serial(self, port: int, host: str) -> int:
        """The serial number of the certificate that is presented for a host."""
        with self.connect(port, host) as connection:
            der = connection.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    def get(
        self, port: int, host: str, path: str = "/", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body of a request over HTTP/1.1."""
        response, body = self.response(port, host, path, headers)
        return response.status, body

    def response(
        self, port: int, host: str, path: str = "/", headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, str]:
        """The response to a request over HTTP/1.1, and its body."""
        with self.connect(port, host) as connection:
            client = http.client.HTTPConnection(host or "127.0.0.1")
            client.sock = connection
            client.request("GET", path, headers=dict(headers or {}))
            response = client.getresponse()
            return response, response.read().decode()


def serial_of(leaf: trustme.LeafCert) -> int:
    """The serial number of a certificate."""
    return x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number


def serves(port: int, host: str, leaf: trustme.LeafCert) -> bool:
    """Whether the gateway presents this certificate."""
    try:
        return TlsClient(None).serial(port, host) == serial_of(leaf)
    except OSError:
        return False


def echoed(client: TlsClient, port: int, host: str) -> bytes:
    """The TCP service's response to a line; empty if the connection is closed."""
    with client.connect(port, host) as connection, connection.makefile("rwb") as lines:
        lines.write(b"hello\n")
        lines.flush()
        return lines.readline()


def negotiates(port: int, arguments: str) -> bool:
    """Whether `openssl s_client` agrees with the gateway, at no security level of its own."""
    options = arguments.split()
    if "-cipher" in options:
        options[-1] += ":@SECLEVEL=0"
    else:
        options += ["-cipher", "ALL:@SECLEVEL=0"]
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "a.test", *options]
    done = subprocess.run(argv, input=b"", capture_output=True, timeout=60, check=False)
    return b"Cipher is (NONE)" not in done.stdout and b"BEGIN CERTIFICATE" in done.stdout
