"""Certificates in PEM files: checks them as Envoy would, and makes the secrets that Envoy reads. Pure.

What Envoy would refuse must not replace a certificate that works, and whoever wrote the files learns why.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"

MIN_RSA_BITS = 2048
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""What Envoy accepts: other keys fail there ("only RSA keys of 2048 bits", "only P-256, P-384 or P-521")."""

EXPIRY_SHARE, EXPIRY_SECONDS = 0.15, 14 * 86_400.0
"""A certificate expires soon when this share of its life is left, at most 14 days: ACME clients renew when a
third is left, so by then renewal has failed several times."""


@dataclass(frozen=True, slots=True)
class LoadedSecret:
    """A secret for Envoy. Times in epoch seconds; `repr` omits the key.

    `hosts` are the names that the certificate is for; none for the CAs of clients.
    """

    not_before: float
    not_after: float
    hosts: tuple[str, ...]
    secret: dict[str, Any] = field(repr=False)

    @property
    def version(self) -> str:
        """A hash of the content."""
        return hashlib.sha256(json.dumps(self.secret, sort_keys=True).encode()).hexdigest()[:16]

    def is_valid(self, now: float) -> bool:
        """Whether clients accept its dates."""
        return self.not_before <= now < self.not_after

    def expires_soon(self, now: float) -> bool:
        """Whether it should have been renewed."""
        life = self.not_after - self.not_before
        return self.not_after - now < min(EXPIRY_SHARE * life, EXPIRY_SECONDS)


def load_pair(certificate: bytes, key: bytes) -> LoadedSecret:
    """A certificate, followed by its intermediates, with its key. Raises ValueError: what is wrong."""
    chain = _certificates(certificate, "certificate")
    leaf, public = chain[0], _public_key(key)
    if leaf.public_key() != public:
        raise ValueError("the key is not that of the (first) certificate")
    secret = {
        "tls_certificate": {
            "certificate_chain": {"inline_string": certificate.decode("ascii", "replace")},
            "private_key": {"inline_string": key.decode("ascii", "replace")},
        }
    }
    return LoadedSecret(*_life([leaf]), _hosts(leaf), secret)


def load_cas(files: list[bytes]) -> LoadedSecret:
    """The CAs of clients. Raises ValueError: what is wrong."""
    members = [certificate for file in files for certificate in _certificates(file, "CA certificate")]
    text = "\n".join(file.decode("ascii", "replace") for file in files)
    return LoadedSecret(*_life(members), (), {"validation_context": {"trusted_ca": {"inline_string": text}}})


def _life(certificates: list[x509.Certificate]) -> tuple[float, float]:
    """When the first of them expires, and since when all are valid."""
    starts = (certificate.not_valid_before_utc.timestamp() for certificate in certificates)
    ends = (certificate.not_valid_after_utc.timestamp() for certificate in certificates)
    return max(starts), min(ends)


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"no {what} in PEM") from None


def _public_key(pem: bytes) -> Any:
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise ValueError("the key is encrypted: write it without a passphrase") from None
    except ValueError:
        raise ValueError("no private key in PEM") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise ValueError(f"the key has {key.key_size} bits: RSA needs {MIN_RSA_BITS} or more")
    elif not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, CURVES):
        raise ValueError("the key is neither RSA nor P-256, P-384 or P-521")
    return key.public_key()


def _hosts(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)
