"""The certificates that a proxy has: its own, those of gateways, and those that it trusts. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Literal

from cryptography import x509

from meshwright.cli.proxy_tables.dump import Json, Row, resources

Use = Literal["certificate", "trusted"]


def certificate_rows(configs: Iterable[Json]) -> Iterator[Row]:
    """Each certificate of each secret: its names, its issuer and when it expires (epoch seconds)."""
    for secret, status, _ in resources(configs, "SecretsConfigDump", "secret"):
        chain = secret.get("tls_certificate", {}).get("certificate_chain", {})
        yield from _rows(secret, "certificate", chain, status)
        for source in _trusted(secret.get("validation_context", {})):
            yield from _rows(secret, "trusted", source, status)


def _trusted(context: Json) -> list[Json]:
    """The roots of a CertificateValidationContext, also those of a SPIFFECertValidatorConfig."""
    validator = context.get("custom_validator_config", {}).get("typed_config", {})
    bundles = [domain.get("trust_bundle", {}) for domain in validator.get("trust_domains", ())]
    return [context.get("trusted_ca", {}), *bundles]


def _rows(secret: Json, use: Use, source: Json, status: str) -> Iterator[Row]:
    for certificate in _parse(source):
        yield {
            "name": secret.get("name", ""),
            "subject": ", ".join(_names(certificate)),
            "use": use,
            "expires": certificate.not_valid_after_utc.timestamp(),
            "status": status,
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
        }


def _parse(source: Json) -> list[x509.Certificate]:
    """The certificates of a DataSource; none for one that Envoy reads from a file, or does not show."""
    try:
        pem = base64.b64decode(source.get("inline_bytes", "")) or source.get("inline_string", "").encode()
        return x509.load_pem_x509_certificates(pem) if pem else []
    except (ValueError, binascii.Error):
        return []


def _names(certificate: x509.Certificate) -> list[str]:
    """Its subject alternative names, else its subject."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return [certificate.subject.rfc4514_string()]
    return [str(name.value) for name in names]
