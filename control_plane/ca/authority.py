"""The certificate authority: its root and keys, combined with a clock and random serial numbers."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshwright.control_plane.api import spiffe
from meshwright.control_plane.api.join_token import JoinTokenClaims
from meshwright.control_plane.api.models.enrolment import SignResponse
from meshwright.control_plane.ca import files, issue, token_signing
from meshwright.control_plane.callers import ENROLMENT_BITS, UNIQUE_BITS, new_enrolment, new_serial
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError

Clock = Callable[[], float]
"""Epoch seconds."""

SVID_TTL_RANGE = (2.0, 7 * 86400.0)
"""Seconds. Renewals at half of the TTL must keep up; there is no revocation, so an SVID must expire soon."""

_RENEW_AT = 0.5
"""Fraction of the TTL after which the server certificate is renewed: half remains if a renewal fails."""

_CLOCK_STEP = 30.0
"""Seconds by which a clock may be set back before the server certificate, backdated by 60, is renewed."""


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The control plane's certificate and key, as PEM; times in epoch seconds."""

    certificate: str
    issued_at: float
    renew_at: float
    key: str = field(repr=False)

    def is_current(self, now: float) -> bool:
        """Whether it is neither due for renewal nor, by a clock that was set back, issued in the future."""
        return self.issued_at - _CLOCK_STEP <= now < self.renew_at


class CertificateAuthority:
    """Signs SVIDs and join tokens of one mesh; thread-safe."""

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

    def sign_csr(self, csr_pem: str, identity: spiffe.Identity, enrolment: str = "") -> SignResponse:
        """An SVID for `identity`, valid for the mesh's SVID TTL. `enrolment`: that of the one it renews.

        Raises PermissionDeniedError (see issue.issue_svid).
        """
        return issue.issue_svid(
            self._root,
            csr_pem,
            identity,
            self._clock(),
            ttl=self._svid_ttl,
            serial=new_serial(
                enrolment or new_enrolment(secrets.randbits(ENROLMENT_BITS)), secrets.randbits(UNIQUE_BITS)
            ),
        )

    def mint_token(self, identity: spiffe.Identity, ttl: float) -> str:
        """A join token for `identity`, valid for `ttl` seconds; raises InputError (see token_signing)."""
        if identity.trust_domain != self.trust_domain:
            raise InputError(
                f"{identity.uri} is in another trust domain than this mesh ({self.trust_domain})"
            )
        return token_signing.mint(
            self._token_key, identity, self.ca_sha256, self._clock(), ttl=ttl, jti=secrets.token_hex(8)
        )

    def verify_token(self, token: str) -> JoinTokenClaims:
        """The claims of a join token; does not check revocations.

        Raises PermissionDeniedError (see token_signing.verify).
        """
        return token_signing.verify(self._token_key, token, self._clock())

    def server_certificate(self) -> ServerCertificate:
        """The control plane's certificate, renewed after half of its TTL, or when the clock is set back."""
        with self._lock:
            now = self._clock()
            if self._server_certificate is None or not self._server_certificate.is_current(now):
                self._server_certificate = self._issue_server_certificate(now)
            return self._server_certificate

    def expiry_times(self) -> dict[str, float]:
        """Expiry of the root and of the control plane's certificate, in epoch seconds."""
        server = x509.load_pem_x509_certificate(self.server_certificate().certificate.encode())
        return {
            "root": self._root.certificate.not_valid_after_utc.timestamp(),
            "control-plane": server.not_valid_after_utc.timestamp(),
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
        return ServerCertificate(certificate, now, now + self._svid_ttl * _RENEW_AT, pem.decode())


def open_authority(settings: Settings, clock: Clock = time.time) -> CertificateAuthority:
    """The mesh's CA: with the root from the settings, else with the one in STATE/ca (created at first start).

    `lost_keys.check_not_lost` comes first: it tells a first start from a lost root. Raises InputError naming
    the invalid file or setting.
    """
    _validate(settings)
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
    hosts = tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", settings.advertise)))
    return CertificateAuthority(root, _token_key(settings), settings.svid_ttl, hosts, clock)


def _token_key(settings: Settings) -> bytes:
    """The key that signs join tokens; control planes that accept each other's tokens share it."""
    if settings.ca_tokens_key:
        return files.load_secret(Path(settings.ca_tokens_key), token_signing.KEY_BYTES)
    path = settings.state / "ca" / "tokens.key"
    return files.load_or_create_secret(
        path, lambda: secrets.token_bytes(token_signing.KEY_BYTES), token_signing.KEY_BYTES
    )


def _validate(settings: Settings) -> None:
    low, high = SVID_TTL_RANGE
    if not low <= settings.svid_ttl <= high:
        raise InputError(f"MESH_SVID_TTL: {settings.svid_ttl:g} is not from {low:g} to {high:g} seconds")
    try:
        spiffe.parse(f"spiffe://{settings.trust_domain}/control-plane")
    except ValueError:
        raise InputError(
            f"MESH_TRUST_DOMAIN: {settings.trust_domain!r} is not a valid trust domain: "
            "use lower-case letters, digits, dots, hyphens and underscores"
        ) from None
    if not settings.advertise.isascii():
        raise InputError(
            f"MESH_ADVERTISE: {settings.advertise!r} is not a valid address: write the host name in ASCII"
        )
    if bool(settings.ca_certificate) != bool(settings.ca_key):
        missing = "MESH_CA_KEY" if settings.ca_certificate else "MESH_CA_CERTIFICATE"
        raise InputError(f"{missing}: missing: your own root needs both a certificate and a key")


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())
