"""What the authority signs, and which requests it refuses."""

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
from tests.control_plane.ca.keys import NOW, ORDERS, AnyKey, new_key, request, root, rsa_key

ROOT = root()
WHOLE = base64.b64decode("".join(request(new_key(), [ORDERS.uri]).splitlines()[1:-1]))


def armoured(raw: bytes) -> str:
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
    svid = sign(request(key, [ORDERS.uri]))
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
def test_other_keys_that_envoy_takes(key: AnyKey) -> None:
    assert sign(request(key)).public_key() == key.public_key()


def test_a_request_decides_nothing_but_the_key() -> None:
    svid = sign(request(new_key(), [ORDERS.uri], wants_ca=True))
    assert not svid.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_an_svid_ends_with_its_root_at_the_latest() -> None:
    end = ROOT.certificate.not_valid_after_utc
    svid = sign(request(new_key()), now=end.timestamp() - 10)
    assert svid.not_valid_after_utc == end
    with pytest.raises(PermissionDeniedError, match="root certificate expired"):
        sign(request(new_key()), now=end.timestamp())


@pytest.mark.parametrize(
    ("uris", "named"),
    [
        (["spiffe://mesh.local/service/payments"], "payments"),
        ([ORDERS.uri, "spiffe://mesh.local/service/payments"], "payments"),
        (["spiffe://mesh.local/gateway/orders"], "gateway"),
        (["spiffe://other.local/service/orders"], "other.local"),
        (["spiffe://mesh.local/control-plane"], "control-plane"),
    ],
)
def test_a_request_for_another_name_is_refused(uris: list[str], named: str) -> None:
    with pytest.raises(PermissionDeniedError, match=rf"is for .*{named}.*, not for {ORDERS.uri}"):
        sign(request(new_key(), uris))


@pytest.mark.parametrize(
    "identity",
    [Identity("mesh.local", "control-plane"), Identity("other.local", "service", "orders")],
)
def test_an_identity_of_elsewhere_or_of_the_control_plane_is_refused(identity: Identity) -> None:
    with pytest.raises(PermissionDeniedError, match=r"not a service or gateway of the mesh mesh.local"):
        sign(request(new_key()), identity)


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
def test_keys_that_are_weak_or_unusable_are_refused(key: AnyKey, reason: str) -> None:
    with pytest.raises(PermissionDeniedError, match=reason):
        sign(request(key))


def test_a_request_signed_by_another_key_is_refused() -> None:
    broken = bytearray(WHOLE)
    broken[-1] ^= 1
    with pytest.raises(PermissionDeniedError, match=r"signature is not of its key"):
        sign(armoured(bytes(broken)))


def test_a_request_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(PermissionDeniedError, match="longer than 16384"):
        sign(request(new_key()) + " " * 16384)


@given(st.text(max_size=200) | st.binary(max_size=200).map(armoured))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(PermissionDeniedError):
        sign(text)


@settings(max_examples=200)
@given(st.integers(0, 400), st.integers(1, 255))
def test_a_damaged_request_is_never_signed_for_another_key(position: int, flip: int) -> None:
    der = bytearray(WHOLE)
    der[position % len(der)] ^= flip
    with pytest.raises(PermissionDeniedError):
        sign(armoured(bytes(der)))


def test_the_control_planes_own_certificate_answers_to_its_names() -> None:
    key = new_key()
    pem = issue.issue_server_certificate(
        ROOT, key.public_key(), ["localhost", "127.0.0.1"], NOW, ttl=60, serial=5
    )
    own = x509.load_pem_x509_certificate(pem.encode())
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://mesh.local/control-plane"]
    assert names.get_values_for_type(x509.DNSName) == [CONTROL_PLANE_DNS, "localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
