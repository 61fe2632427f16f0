"""The root certificate, and the X.509 SVIDs that it signs.

They follow SPIFFE's X509-SVID standard: a leaf has exactly one URI SAN, is not a CA and has the key usage
digital signature; the root may only sign certificates and names the trust domain. Keys, serial numbers and
the time come from the caller. Times are epoch seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshwright.control_plane.api import spiffe
from meshwright.control_plane.api.models.enrolment import SignResponse
from meshwright.control_plane.ca.csr import PublicKey, parse_csr
from meshwright.control_plane.errors import PermissionDeniedError

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ROOT_LIFETIME = timedelta(days=3650)
"""Ten years. After a root is replaced every workload must enrol again, so it should outlive the mesh."""

BACKDATE = timedelta(seconds=60)
"""How far a verifier's clock may lag behind the authority's."""

ROOT_BACKDATE = timedelta(days=1)
"""How far a clock may be set back after a mesh has started, as where a hardware clock has another time zone.
SVIDs are issued again then, a root cannot be."""


@dataclass(frozen=True, slots=True)
class RootAuthority:
    """A root: its key, its self-signed certificate and its trust domain."""

    trust_domain: str
    certificate: x509.Certificate
    key: SigningKey

    @property
    def bundle(self) -> str:
        """The root as PEM, with which peers verify each other."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def ca_sha256(self) -> str:
        """Hex SHA-256 of the root's DER bytes, which join tokens pin."""
        return hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def new_root(trust_domain: str, key: SigningKey, now: float, serial: int) -> RootAuthority:
    """A new root for `trust_domain`, valid for ROOT_LIFETIME, that may sign only leaves (path length 0)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Meshwright root")])
    start = datetime.fromtimestamp(now, UTC)
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(serial)
        .not_valid_before(start - ROOT_BACKDATE)
        .not_valid_after(start + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_uris(f"spiffe://{trust_domain}"), critical=False)
        .add_extension(subject_key, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key), critical=False
        )
    )
    return RootAuthority(trust_domain, builder.sign(key, _hash(key)), key)


def issue_svid(
    authority: RootAuthority, csr_pem: str, identity: spiffe.Identity, now: float, *, ttl: float, serial: int
) -> SignResponse:
    """An SVID for `identity`, valid for `ttl` seconds, with the key of the request.

    Raises PermissionDeniedError when the identity is not a service or gateway of this trust domain, when the
    request is invalid (see parse_csr), or when the root has expired.
    """
    if identity.role == "control-plane" or identity.trust_domain != authority.trust_domain:
        raise PermissionDeniedError(
            f"{identity.uri} is not a service or gateway of the mesh {authority.trust_domain}"
        )
    key = parse_csr(csr_pem, identity)
    return SignResponse(
        certificate=_leaf(authority, key, _uris(identity.uri), now, ttl=ttl, serial=serial),
        bundle=authority.bundle,
    )


def issue_server_certificate(
    authority: RootAuthority, key: PublicKey, hosts: Sequence[str], now: float, *, ttl: float, serial: int
) -> str:
    """The control plane's certificate as PEM, for its SPIFFE ID, CONTROL_PLANE_DNS and `hosts`.

    `hosts` are further names or addresses by which clients connect. Raises PermissionDeniedError when the
    root has expired.
    """
    names: list[x509.GeneralName] = list(_uris(spiffe.Identity(authority.trust_domain, "control-plane").uri))
    names += [_host(host) for host in dict.fromkeys((spiffe.CONTROL_PLANE_DNS, *hosts))]
    return _leaf(authority, key, x509.SubjectAlternativeName(names), now, ttl=ttl, serial=serial)


def _leaf(
    authority: RootAuthority,
    key: PublicKey,
    names: x509.SubjectAlternativeName,
    now: float,
    *,
    ttl: float,
    serial: int,
) -> str:
    root = authority.certificate
    start = datetime.fromtimestamp(now, UTC)
    if start >= root.not_valid_after_utc:
        raise PermissionDeniedError(
            f"the mesh's root certificate expired at {root.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        )
    builder = (
        # The subject is empty, so the alternative names are critical (RFC 5280 section 4.2.1.6).
        x509.CertificateBuilder(issuer_name=root.subject, subject_name=x509.Name([]), public_key=key)
        .serial_number(serial)
        .not_valid_before(start - BACKDATE)
        .not_valid_after(min(start + timedelta(seconds=ttl), root.not_valid_after_utc))
        .add_extension(names, critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issuer_key(authority), critical=False)
    )
    signed = builder.sign(authority.key, _hash(authority.key))
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def _issuer_key(authority: RootAuthority) -> x509.AuthorityKeyIdentifier:
    try:
        subject_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key.value)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _uris(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


def _hash(key: SigningKey) -> hashes.SHA256 | hashes.SHA384:
    use_sha384 = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256
    return hashes.SHA384() if use_sha384 else hashes.SHA256()


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
