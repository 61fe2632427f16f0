"""The CA's files: `root.pem`, `root.key` and `tokens.key` in STATE/ca, or a root that the user provides.

A missing file is created once and never replaced; two control planes that start at once in one folder end up
with the same files. Keys are PEM or raw bytes with mode 0600; a key that is readable by others is refused.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshwright.control_plane.api.private_files import private_folder, read_private
from meshwright.control_plane.ca.csr import validate_key
from meshwright.control_plane.ca.issue import RootAuthority, SigningKey
from meshwright.control_plane.errors import InputError, PermissionDeniedError
from meshwright.control_plane.files import read

_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


def load_or_create_root(
    folder: Path,
    trust_domain: str,
    make_key: Callable[[], SigningKey],
    certify: Callable[[SigningKey], RootAuthority],
) -> RootAuthority:
    """The root of `folder`, created by `make_key` and `certify` if there is none yet.

    The key is written first: after a crash between the two files the next start certifies that key. Raises
    InputError naming the invalid file. `validate_root` checks the certificate's validity.
    """
    key_file, certificate_file = folder / "root.key", folder / "root.pem"
    if certificate_file.exists() and not key_file.exists():
        raise InputError(
            f"{key_file}: missing beside root.pem: "
            "restore it, or remove root.pem too and enrol every workload again"
        )
    key = _signing_key(_read_or_create(key_file, lambda: _pem(make_key()), 0o600), key_file)

    def certificate() -> bytes:
        return certify(key).bundle.encode()

    return RootAuthority(
        trust_domain,
        _certificate(_read_or_create(certificate_file, certificate, 0o644), certificate_file),
        key,
    )


def load_root(certificate_file: Path, key_file: Path, trust_domain: str) -> RootAuthority:
    """The root in two PEM files of the user; raises InputError naming the file that cannot be read."""
    certificate = _certificate(read(certificate_file, secret=False), certificate_file)
    return RootAuthority(trust_domain, certificate, _signing_key(read(key_file, secret=True), key_file))


def validate_root(root: RootAuthority, certificate_file: Path, key_file: Path, now: float) -> None:
    """Raise InputError unless `root` can sign SVIDs that peers trust at `now` (epoch seconds)."""
    certificate = root.certificate
    if certificate.public_key() != root.key.public_key():
        raise InputError(f"{key_file}: is not the key of {certificate_file}: use a matching pair")
    if not certificate.not_valid_before_utc.timestamp() <= now < certificate.not_valid_after_utc.timestamp():
        raise InputError(
            f"{certificate_file}: valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, not now: use a valid root"
        )
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        raise InputError(
            f"{certificate_file}: not self-signed: use the root itself, peers trust no other certificate"
        ) from None
    try:
        _check_extensions(certificate, root.trust_domain)
    except (
        ValueError,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise InputError(f"{certificate_file}: cannot be the root of this mesh: {error}") from None


def load_or_create_secret(path: Path, make: Callable[[], bytes], length: int) -> bytes:
    """The `length` secret bytes in `path`, created by `make` if it is missing; raises InputError."""
    return _check_length(_read_or_create(path, make, 0o600), path, length)


def load_secret(path: Path, length: int) -> bytes:
    """The `length` secret bytes in a file of the user; raises InputError."""
    return _check_length(read(path, secret=True), path, length)


def _check_length(secret: bytes, path: Path, length: int) -> bytes:
    if len(secret) != length:
        raise InputError(
            f"{path}: has {len(secret)} bytes instead of {length}: "
            "restore it, or remove it and mint new tokens"
        )
    return secret


def _check_extensions(certificate: x509.Certificate, trust_domain: str) -> None:
    extensions = certificate.extensions
    if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise ValueError("it is not a CA (basic constraints)")
    if not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
        raise ValueError("it may not sign certificates (key usage)")
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        if uri.startswith("spiffe://") and uri != f"spiffe://{trust_domain}":
            raise ValueError(f"it is for {uri}, not for trust domain {trust_domain}")


def _read_or_create(path: Path, make: Callable[[], bytes], mode: int) -> bytes:
    """The content of a file in the state directory. Links and files that others could change are refused."""
    private_folder(path.parent)
    if not os.path.lexists(path):
        _create(path, make(), mode)
    return read_private(path, secret=mode == 0o600)


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a new file atomically and sync it to disk; a file created in the meantime is kept."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        Path(name).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _certificate(content: bytes, path: Path) -> x509.Certificate:
    try:
        certificate, *others = x509.load_pem_x509_certificates(content)
    except _UNREADABLE:
        raise InputError(f"{path}: not a PEM certificate: provide the root as PEM") from None
    if others:
        raise InputError(f"{path}: holds {len(others) + 1} certificates: provide only the root")
    return certificate


def _signing_key(content: bytes, path: Path) -> SigningKey:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except _UNREADABLE:
        raise InputError(f"{path}: not an unencrypted PEM private key") from None
    try:
        validate_key(key.public_key())
    except PermissionDeniedError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise InputError(f"{path}: neither an ECDSA nor an RSA key")
    return key


def _pem(key: SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
