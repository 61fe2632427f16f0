"""The certificates that the authority signs, and the requests that it denies."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS, Identity
from meshwright.control_plane.ca import issue
from meshwright.control_plane.errors import PermissionDeniedError
from tests.control_plane.ca.keys import NOW, ORDERS, AnyKey, csr, new_key, root, rsa_key

ROOT = root()
VALID_DER = base64.b64decode("".join(csr(new_key(), [ORDERS.uri]).splitlines()[1:-1]))


def to_pem(raw: bytes) -> str:
    body = base64.encodebytes(raw).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def sign(csr: str, identity: Identity = ORDERS, now: float = NOW, ttl: float = 3600) -> x509.Certificate:
    signed = issue.issue_svid(ROOT, csr, identity, now, ttl=ttl, serial=77)
    assert signed.bundle == ROOT.bundle
    return x509.load_pem_x509_certificate(signed.certificate.encode())


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_root_names_its_trust_domain_and_signs_certificates_only() -> None:
    extensions = ROOT.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usage.key_cert_sign
    assert not usage.digital_signature
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://mesh.local"]
    assert ROOT.certificate.not_valid_after_utc == at(NOW) + issue.ROOT_LIFETIME
    der = ROOT.certificate.public_bytes(serialization.Encoding.DER)
    assert ROOT.ca_sha256 == hashlib.sha256(der).hexdigest()


def test_svid_has_the_shape_of_the_standard() -> None:
    key = new_key()
    svid = sign(csr(key, [ORDERS.uri]))
    names = svid.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    usage = svid.extensions.get_extension_for_class(x509.KeyUsage)
    extended = svid.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(names.value) == [x509.UniformResourceIdentifier("spiffe://mesh.local/service/orders")]
    assert names.critical
    assert not svid.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert usage.critical
    assert usage.value.digital_signature
    assert not (usage.value.key_cert_sign or usage.value.crl_sign)
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert svid.public_key() == key.public_key()
    assert svid.serial_number == 77
    assert (svid.not_valid_before_utc, svid.not_valid_after_utc) == (at(NOW - 60), at(NOW + 3600))
    svid.verify_directly_issued_by(ROOT.certificate)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), rsa_key(2048)])
def test_other_keys_that_envoy_supports_are_signed(key: AnyKey) -> None:
    assert sign(csr(key)).public_key() == key.public_key()


def test_request_determines_only_the_key() -> None:
    svid = sign(csr(new_key(), [ORDERS.uri], wants_ca=True))
    assert not svid.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_svid_does_not_outlive_its_root() -> None:
    end = ROOT.certificate.not_valid_after_utc
    svid = sign(csr(new_key()), now=end.timestamp() - 10)
    assert svid.not_valid_after_utc == end
    with pytest.raises(PermissionDeniedError, match="root certificate expired"):
        sign(csr(new_key()), now=end.timestamp())


@pytest.mark.parametrize(
    ("uris", "denied_name"),
    [
        (["spiffe://mesh.local/service/payments"], "payments"),
        ([ORDERS.uri, "spiffe://mesh.local/service/payments"], "payments"),
        (["spiffe://mesh.local/gateway/orders"], "gateway"),
        (["spiffe://other.local/service/orders"], "other.local"),
        (["spiffe://mesh.local/control-plane"], "control-plane"),
    ],
)
def test_request_for_another_name_is_denied(uris: list[str], denied_name: str) -> None:
    with pytest.raises(PermissionDeniedError, match=rf"is for .*{denied_name}.*, not for {ORDERS.uri}"):
        sign(csr(new_key(), uris))


@pytest.mark.parametrize(
    "identity",
    [Identity("mesh.local", "control-plane"), Identity("other.local", "service", "orders")],
)
def test_identity_of_another_mesh_or_of_the_control_plane_is_denied(identity: Identity) -> None:
    with pytest.raises(PermissionDeniedError, match=r"not a service or gateway of the mesh mesh.local"):
        sign(csr(new_key()), identity)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (rsa_key(1024), "RSA key of 1024 bits"),
        (rsa_key(2048, 3), "exponent"),
        (ec.generate_private_key(ec.SECP224R1()), "secp224r1"),
        (ec.generate_private_key(ec.SECP521R1()), "secp521r1"),
        (ed25519.Ed25519PrivateKey.generate(), "kind of key"),
        (dsa.generate_private_key(2048), "kind of key"),
    ],
    ids=["rsa-1024", "rsa-exponent-3", "p-224", "p-521", "ed25519", "dsa"],
)
def test_weak_or_unsupported_key_is_denied(key: AnyKey, reason: str) -> None:
    with pytest.raises(PermissionDeniedError, match=reason):
        sign(csr(key))


def test_request_signed_by_another_key_is_denied() -> None:
    broken = bytearray(VALID_DER)
    broken[-1] ^= 1
    with pytest.raises(PermissionDeniedError, match=r"not signed by its own key"):
        sign(to_pem(bytes(broken)))


def test_request_above_the_size_limit_is_denied_without_parsing() -> None:
    with pytest.raises(PermissionDeniedError, match="longer than 16384"):
        sign(csr(new_key()) + " " * 16384)


@given(st.text(max_size=200) | st.binary(max_size=200).map(to_pem))
def test_garbage_is_denied(text: str) -> None:
    with pytest.raises(PermissionDeniedError):
        sign(text)


@settings(max_examples=200)
@given(st.integers(0, 400), st.integers(1, 255))
def test_damaged_request_is_denied(position: int, flip: int) -> None:
    der = bytearray(VALID_DER)
    der[position % len(der)] ^= flip
    with pytest.raises(PermissionDeniedError):
        sign(to_pem(bytes(der)))


def test_server_certificate_has_the_names_of_the_control_plane() -> None:
    key = new_key()
    pem = issue.issue_server_certificate(
        ROOT, key.public_key(), ["localhost", "127.0.0.1"], NOW, ttl=60, serial=5
    )
    certificate = x509.load_pem_x509_certificate(pem.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://mesh.local/control-plane"]
    assert names.get_values_for_type(x509.DNSName) == [CONTROL_PLANE_DNS, "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
