"""An SVID: its key and signing request, the signed certificate, and the SDS secrets that Envoy reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshwright.control_plane.api.models.enrolment import SignResponse

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


@dataclass(frozen=True, slots=True)
class Svid:
    """A certificate (PEM chain, leaf first), its private key, and the trust bundle that verifies peers.

    `not_after` is in seconds since the epoch. `repr` omits the key, so that no log can show it.
    """

    certificate: str
    bundle: str
    not_after: float
    key: str = field(repr=False)


def generate_key() -> ec.EllipticCurvePrivateKey:
    """A new P-256 private key, for one SVID."""
    return ec.generate_private_key(ec.SECP256R1())


def create_csr(key: ec.EllipticCurvePrivateKey, spiffe_id: str) -> str:
    """A PEM certificate signing request for the SPIFFE ID."""
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Meshwright")]))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)]), critical=False
        )
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def assemble_svid(key: ec.EllipticCurvePrivateKey, signed: SignResponse, spiffe_id: str) -> Svid:
    """Join the signed certificate with its key. Raises ValueError when the key or the SPIFFE ID differs."""
    leaf = x509.load_pem_x509_certificate(signed.certificate.encode())
    if leaf.public_key() != key.public_key():
        raise ValueError("the certificate is for another key")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris != [spiffe_id]:
        raise ValueError(f"the certificate is for {uris}, not for {spiffe_id}")
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Svid(
        signed.certificate,
        signed.bundle,
        leaf.not_valid_after_utc.timestamp(),
        pem.decode(),
    )


def parse_secrets(identity: str, bundle: str, spiffe_id: str) -> Svid:
    """The SVID in the two SDS files of a running Envoy. Raises ValueError if it is not for `spiffe_id`."""
    try:
        pair = json.loads(identity)["resources"][0]["tls_certificate"]
        context = json.loads(bundle)["resources"][0]["validation_context"]
        domain = context["custom_validator_config"]["typed_config"]["trust_domains"][0]
        signed = SignResponse(
            certificate=pair["certificate_chain"]["inline_string"],
            bundle=domain["trust_bundle"]["inline_string"],
        )
        key = serialization.load_pem_private_key(pair["private_key"]["inline_string"].encode(), None)
    except (LookupError, TypeError) as error:
        raise ValueError(f"not an SDS file of a sidecar: {error!r}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an elliptic curve key")
    return assemble_svid(key, signed, spiffe_id)


def identity_secret(svid: Svid) -> str:
    """Envoy's SDS file with the secret `identity`: certificate and key."""
    secret = {
        "@type": f"{TLS}.Secret",
        "name": "identity",
        "tls_certificate": {
            "certificate_chain": {"inline_string": svid.certificate},
            "private_key": {"inline_string": svid.key},
        },
    }
    return json.dumps({"resources": [secret]})


def bundle_secret(svid: Svid, trust_domain: str) -> str:
    """Envoy's SDS file with the secret `bundle`: verifies peers of `trust_domain` by the SPIFFE validator."""
    domain = {"name": trust_domain, "trust_bundle": {"inline_string": svid.bundle}}
    config = {"@type": f"{TLS}.SPIFFECertValidatorConfig", "trust_domains": [domain]}
    validator = {"name": "envoy.tls.cert_validator.spiffe", "typed_config": config}
    secret = {
        "@type": f"{TLS}.Secret",
        "name": "bundle",
        "validation_context": {"custom_validator_config": validator},
    }
    return json.dumps({"resources": [secret]})
