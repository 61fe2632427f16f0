"""An SVID in the forms its users want: Envoy's SDS files, a request to sign, times of its life."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshwright.control_plane.api.models.base import SignResponse

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


@dataclass(frozen=True, slots=True)
class Svid:
    """A certificate (PEM chain, leaf first), its key and the bundle to verify peers with.

    `not_after` is in seconds since the epoch. The key is kept out of `repr`, so that no log can show it.
    """

    certificate: str
    bundle: str
    not_after: float
    key: str = field(repr=False)


def create_csr(key: ec.EllipticCurvePrivateKey, uri: str) -> str:
    """A PEM certificate signing request for the SPIFFE ID `uri`."""
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Meshwright")]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def assemble_svid(key: ec.EllipticCurvePrivateKey, signed: SignResponse, uri: str) -> Svid:
    """What the control plane signed, joined with its key; raises ValueError when it is not for us."""
    leaf = x509.load_pem_x509_certificate(signed.certificate.encode())
    if leaf.public_key() != key.public_key():
        raise ValueError("the certificate is for another key")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = names.get_values_for_type(x509.UniformResourceIdentifier)
    if found != [uri]:
        raise ValueError(f"the certificate is for {found}, not for {uri}")
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Svid(
        signed.certificate,
        signed.bundle,
        leaf.not_valid_after_utc.timestamp(),
        pem.decode(),
    )


def identity_secret(of: Svid) -> str:
    """Envoy's SDS file of the secret `identity`."""
    secret = {
        "@type": f"{TLS}.Secret",
        "name": "identity",
        "tls_certificate": {
            "certificate_chain": {"inline_string": of.certificate},
            "private_key": {"inline_string": of.key},
        },
    }
    return json.dumps({"resources": [secret]})


def bundle_secret(of: Svid, trust_domain: str) -> str:
    """Envoy's SDS file of the secret `bundle`: peers of `trust_domain` are verified as SPIFFE says."""
    domain = {"name": trust_domain, "trust_bundle": {"inline_string": of.bundle}}
    config = {"@type": f"{TLS}.SPIFFECertValidatorConfig", "trust_domains": [domain]}
    validator = {"name": "envoy.tls.cert_validator.spiffe", "typed_config": config}
    secret = {
        "@type": f"{TLS}.Secret",
        "name": "bundle",
        "validation_context": {"custom_validator_config": validator},
    }
    return json.dumps({"resources": [secret]})
