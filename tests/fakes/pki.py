"""A root and certificates created on the spot, for tests and benchmarks with mutual TLS."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshwright.control_plane.api.models.enrolment import SignResponse
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.ca import issue
from meshwright.control_plane.ca.authority import CertificateAuthority
from meshwright.control_plane.tls import TlsCredentials
from meshwright.sidecar import svid

DOMAIN = "mesh.local"


def new_root() -> issue.RootAuthority:
    """A root of the trust domain, valid from now."""
    return issue.new_root(DOMAIN, ec.generate_private_key(ec.SECP256R1()), time.time(), 1)


@dataclass
class Pki:
    """An authority that certifies any identity."""

    authority: issue.RootAuthority = field(default_factory=new_root)

    @property
    def roots(self) -> bytes:
        return self.authority.bundle.encode()

    def server(self) -> TlsCredentials:
        """The control plane's certificate, for loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        now, serial = time.time(), x509.random_serial_number()
        certificate = issue.issue_server_certificate(
            self.authority, key.public_key(), ("127.0.0.1",), now, ttl=3600, serial=serial
        )
        return TlsCredentials(certificate.encode(), key_pem(key), self.roots)

    def svid(
        self, name: str, role: str = "service", *, age: float = 0.0
    ) -> tuple[SignResponse, ec.EllipticCurvePrivateKey]:
        """A workload's certificate and key; issued `age` seconds ago for an hour."""
        identity = Identity(DOMAIN, "gateway" if role == "gateway" else "service", name)
        key = ec.generate_private_key(ec.SECP256R1())
        csr = svid.create_csr(key, identity.uri)
        now, serial = time.time() - age, x509.random_serial_number()
        return issue.issue_svid(self.authority, csr, identity, now, ttl=3600, serial=serial), key

    def client(self, name: str, role: str = "service") -> grpc.ChannelCredentials:
        """A workload's mTLS credentials for gRPC."""
        signed, key = self.svid(name, role)
        return grpc.ssl_channel_credentials(self.roots, key_pem(key), signed.certificate.encode())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def tls_credentials(authority: CertificateAuthority) -> TlsCredentials:
    """The credentials of a gRPC port, from a mesh's authority."""
    certificate = authority.server_certificate()
    return TlsCredentials(
        certificate.certificate.encode(), certificate.key.encode(), authority.bundle.encode()
    )
