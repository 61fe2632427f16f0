"""The certificate authority at work: its files opened, and clock and randomness put to the pure parts."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshwright.control_plane.api import spiffe
from meshwright.control_plane.api.join_token import JoinTokenClaims
from meshwright.control_plane.api.models.base import SignResponse
from meshwright.control_plane.ca import files, issue, token_signing
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError

Clock = Callable[[], float]

SVID_TTL_RANGE = (2.0, 7 * 86400.0)
"""Seconds that an SVID may live: renewals at half of it must keep up, and nothing revokes one sooner."""

_RENEW_AT = 0.5
# Of its life, as with SVIDs: half remains for a renewal that fails.


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The control plane's own certificate and key, as PEM; `renew_at` in epoch seconds."""

    certificate: str
    renew_at: float
    key: str = field(repr=False)


class CertificateAuthority:
    """Signs SVIDs and join tokens of one mesh; safe to call from any thread."""

    def __init__(
        self,
        root: issue.RootAuthority,
        token_key: bytes,
        svid_ttl: float,
        hosts: tuple[str, ...],
        clock: Clock,
    ) -> None:
        self._root = root
        self._token_key = token_key
        self._svid_ttl = svid_ttl
        self._hosts = hosts
        self._clock = clock
        self._lock = threading.Lock()
        self._server_certificate: ServerCertificate | None = None
        self.trust_domain = root.trust_domain
        self.bundle = root.bundle
        self.ca_sha256 = root.ca_sha256

    def sign_csr(self, csr_pem: str, identity: spiffe.Identity) -> SignResponse:
        """An SVID for `identity`, good for the mesh's SVID life; raises RefusedError (see issue.issue)."""
        return issue.issue_svid(
            self._root,
            csr_pem,
            identity,
            self._clock(),
            ttl=self._svid_ttl,
            serial=x509.random_serial_number(),
        )

    def mint_token(self, identity: spiffe.Identity, ttl: float) -> str:
        """A join token for `identity`, good for `ttl` seconds; raises InputError (see tokens.mint)."""
        if identity.trust_domain != self.trust_domain:
            raise InputError(
                f"{identity.uri} is of another trust domain than this mesh ({self.trust_domain})"
            )
        return token_signing.mint(
            self._token_key, identity, self.ca_sha256, self._clock(), ttl=ttl, jti=secrets.token_hex(8)
        )

    def verify_token(self, token: str) -> JoinTokenClaims:
        """Whom a join token lets enrol, unless it is revoked; raises RefusedError (see tokens.verify)."""
        return token_signing.verify(self._token_key, token, self._clock())

    def server_certificate(self) -> ServerCertificate:
        """The control plane's own certificate, made anew (with a new key) after half of its life."""
        with self._lock:
            now = self._clock()
            if self._server_certificate is None or now >= self._server_certificate.renew_at:
                self._server_certificate = self._issue_server_certificate(now)
            return self._server_certificate

    def expiry_times(self) -> dict[str, float]:
        """When the root and the control plane's own certificate end, in epoch seconds."""
        own = x509.load_pem_x509_certificate(self.server_certificate().certificate.encode())
        root = self._root.certificate
        return {
            "root": root.not_valid_after_utc.timestamp(),
            "control-plane": own.not_valid_after_utc.timestamp(),
        }

    def _issue_server_certificate(self, now: float) -> ServerCertificate:
        key = _new_key()
        certificate = issue.issue_server_certificate(
            self._root,
            key.public_key(),
            self._hosts,
            now,
            ttl=self._svid_ttl,
            serial=x509.random_serial_number(),
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return ServerCertificate(certificate, now + self._svid_ttl * _RENEW_AT, pem.decode())


def open_authority(settings: Settings, clock: Clock = time.time) -> CertificateAuthority:
    """The mesh's CA: the root given in the settings, else the one in STATE/ca, made on the first start.

    Raises InputError naming the file or setting that is wrong.
    """
    _check(settings)
    if bool(settings.ca_certificate) != bool(settings.ca_key):
        missing = "MESH_CA_KEY" if settings.ca_certificate else "MESH_CA_CERTIFICATE"
        raise InputError(f"{missing}: missing: a root of your own needs both certificate and key")
    folder = settings.state / "ca"
    certificate_file, key_file = folder / "root.pem", folder / "root.key"
    if settings.ca_certificate:
        certificate_file, key_file = Path(settings.ca_certificate), Path(settings.ca_key)
        root = files.load_root(certificate_file, key_file, settings.trust_domain)
    else:
        root = files.load_or_create_root(
            folder,
            settings.trust_domain,
            _new_key,
            lambda key: issue.new_root(settings.trust_domain, key, clock(), x509.random_serial_number()),
        )
    files.validate_root(root, certificate_file, key_file, clock())
    token_key = _token_key(settings)
    hosts = tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", settings.advertise)))
    return CertificateAuthority(root, token_key, settings.svid_ttl, hosts, clock)


def _token_key(settings: Settings) -> bytes:
    """What join tokens are signed with; control planes that are to honour each other's share it."""
    if settings.ca_tokens_key:
        return files.load_secret(Path(settings.ca_tokens_key), token_signing.KEY_BYTES)
    path = settings.state / "ca" / "tokens.key"
    return files.load_or_create_secret(
        path, lambda: secrets.token_bytes(token_signing.KEY_BYTES), token_signing.KEY_BYTES
    )


def grpc_credentials(authority: CertificateAuthority) -> grpc.ServerCredentials:
    """mTLS for a gRPC server: clients need an SVID of the mesh; the own certificate is renewed under way."""
    serving = authority.server_certificate()

    def configuration(pair: ServerCertificate) -> grpc.ServerCertificateConfiguration:
        chain = [(pair.key.encode(), pair.certificate.encode())]
        return grpc.ssl_server_certificate_configuration(chain, authority.bundle.encode())

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal serving
        pair = authority.server_certificate()
        if pair is serving:
            return None
        serving = pair
        return configuration(pair)

    return grpc.dynamic_ssl_server_credentials(
        configuration(serving),
        newer,  # type: ignore[arg-type]  # the stub forgets None: nothing newer
        require_client_authentication=True,
    )


def _check(settings: Settings) -> None:
    low, high = SVID_TTL_RANGE
    if not low <= settings.svid_ttl <= high:
        raise InputError(
            f"MESH_SVID_TTL: {settings.svid_ttl:g} s is no life for an SVID: give {low:g} to {high:g}"
        )
    try:
        spiffe.parse(f"spiffe://{settings.trust_domain}/control-plane")
    except ValueError:
        raise InputError(
            f"MESH_TRUST_DOMAIN: {settings.trust_domain!r} is no trust domain: "
            "give lower-case letters, digits, dots, hyphens and underscores"
        ) from None
    if not settings.advertise.isascii():
        raise InputError(f"MESH_ADVERTISE: {settings.advertise!r} is no address: write a host name in ASCII")


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
