"""The CA's files: created once, kept, and refused when they are invalid."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.ca import issue
from meshwright.control_plane.ca.authority import CertificateAuthority, open_authority
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError
from tests.control_plane.ca.keys import NOW, ORDERS, csr, key_pem, new_key, root
from tests.fakes.clock import FakeClock


def open_at(settings: Settings, now: float = NOW) -> CertificateAuthority:
    return open_authority(settings, lambda: now)


def with_own_root(folder: Path, authority: issue.RootAuthority, key: str = "") -> Settings:
    """Settings with a root in files of the user."""
    certificate_file, key_file = folder / "own.pem", folder / "own.key"
    certificate_file.write_text(authority.bundle)
    key_file.touch(0o600)
    key_file.write_text(key or key_pem(authority.key))
    return Settings(folder / "state", ca_certificate=str(certificate_file), ca_key=str(key_file))


def test_first_start_creates_files_that_later_starts_keep(tmp_path: Path) -> None:
    first = open_at(Settings(tmp_path))
    token = first.mint_token(ORDERS, 600)
    second = open_at(Settings(tmp_path), NOW + 300)
    assert second.ca_sha256 == first.ca_sha256
    assert second.verify_token(token).identity == ORDERS
    svid = x509.load_pem_x509_certificate(second.sign_csr(csr(new_key()), ORDERS).certificate.encode())
    svid.verify_directly_issued_by(x509.load_pem_x509_certificate(first.bundle.encode()))
    folder = tmp_path / "ca"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"root.pem": 0o644, "root.key": 0o600, "tokens.key": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_start_after_a_crash_between_the_files_uses_the_written_key(tmp_path: Path) -> None:
    open_at(Settings(tmp_path))
    key = (tmp_path / "ca/root.key").read_bytes()
    (tmp_path / "ca/root.pem").unlink()
    open_at(Settings(tmp_path))
    assert (tmp_path / "ca/root.key").read_bytes() == key


@pytest.mark.parametrize("name", ["root.key", "tokens.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_key_readable_by_others_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    open_at(Settings(tmp_path))
    path = tmp_path / "ca" / name
    path.chmod(mode)
    with pytest.raises(InputError, match=f"^{path}: .*chmod 600 {path}$"):
        open_at(Settings(tmp_path))


def test_lost_root_key_is_an_error_and_not_replaced(tmp_path: Path) -> None:
    open_at(Settings(tmp_path))
    (tmp_path / "ca/root.key").unlink()
    with pytest.raises(InputError, match=r"root\.key: missing beside root\.pem"):
        open_at(Settings(tmp_path))


def test_damaged_token_key_is_an_error(tmp_path: Path) -> None:
    open_at(Settings(tmp_path))
    (tmp_path / "ca/tokens.key").write_bytes(b"short")
    with pytest.raises(InputError, match=r"tokens\.key: has 5 bytes instead of 32"):
        open_at(Settings(tmp_path))


def test_state_of_another_trust_domain_is_refused(tmp_path: Path) -> None:
    open_at(Settings(tmp_path))
    with pytest.raises(
        InputError, match=r"root\.pem: cannot be the root of this mesh: it is for spiffe://mesh\.local"
    ):
        open_at(Settings(tmp_path, trust_domain="other.local"))


def test_root_of_the_user_signs(tmp_path: Path) -> None:
    user_root = root()
    authority = open_at(with_own_root(tmp_path, user_root))
    assert authority.ca_sha256 == user_root.ca_sha256
    svid = authority.sign_csr(csr(new_key()), ORDERS)
    x509.load_pem_x509_certificate(svid.certificate.encode()).verify_directly_issued_by(user_root.certificate)
    assert sorted(path.name for path in (tmp_path / "state/ca").iterdir()) == ["tokens.key"]


def test_control_planes_with_one_tokens_key_accept_each_others_tokens(tmp_path: Path) -> None:
    shared = tmp_path / "shared.key"
    shared.write_bytes(bytes(range(32)))
    shared.chmod(0o600)
    user_root = root()
    first = open_at(
        replace(with_own_root(tmp_path, user_root), state=tmp_path / "first", ca_tokens_key=str(shared))
    )
    second = open_at(
        replace(with_own_root(tmp_path, user_root), state=tmp_path / "second", ca_tokens_key=str(shared))
    )
    assert second.verify_token(first.mint_token(ORDERS, 60)).identity == ORDERS


def test_configured_tokens_key_is_never_created(tmp_path: Path) -> None:
    missing = tmp_path / "none.key"
    with pytest.raises(InputError, match=r"none\.key: cannot be read"):
        open_at(Settings(tmp_path, ca_tokens_key=str(missing)))
    assert not missing.exists()


def test_half_of_a_root_is_an_error_with_the_missing_setting(tmp_path: Path) -> None:
    settings = with_own_root(tmp_path, root())
    with pytest.raises(InputError, match=r"^MESH_CA_KEY: missing"):
        open_at(replace(settings, ca_key=""))
    with pytest.raises(InputError, match=r"^MESH_CA_CERTIFICATE: missing"):
        open_at(replace(settings, ca_certificate=""))


def test_key_of_another_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.key: is not the key of .*own\.pem"):
        open_at(with_own_root(tmp_path, root(), key_pem(new_key())))


@pytest.mark.parametrize("offset", [-2 * 86_400, issue.ROOT_LIFETIME.total_seconds()])
def test_root_that_is_not_valid_now_is_refused(tmp_path: Path, offset: float) -> None:
    with pytest.raises(InputError, match=r"own\.pem: valid from .* not now"):
        open_at(with_own_root(tmp_path, root()), NOW + offset)


def test_certificate_that_is_not_a_root_is_refused(tmp_path: Path) -> None:
    authority, key = root(), new_key()
    leaf = issue.issue_svid(authority, csr(key), ORDERS, NOW, ttl=3600, serial=3)
    certificate = x509.load_pem_x509_certificate(leaf.certificate.encode())
    with pytest.raises(InputError, match=r"own\.pem: not self-signed"):
        open_at(with_own_root(tmp_path, issue.RootAuthority("mesh.local", certificate, key)))


@pytest.mark.parametrize(
    ("ca", "signs", "reason"), [(False, True, "not a CA"), (True, False, "may not sign certificates")]
)
def test_self_signed_certificate_without_a_roots_extensions_is_refused(
    tmp_path: Path, ca: bool, signs: bool, reason: str
) -> None:
    authority = root()
    usage = x509.KeyUsage(not signs, False, False, False, False, signs, False, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(authority.certificate.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(authority.key.public_key())
        .serial_number(2)
        .not_valid_before(authority.certificate.not_valid_before_utc)
        .not_valid_after(authority.certificate.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    unsuitable = builder.sign(authority.key, hashes.SHA256())
    with pytest.raises(InputError, match=rf"own\.pem: cannot be the root of this mesh: .*{reason}"):
        open_at(with_own_root(tmp_path, issue.RootAuthority("mesh.local", unsuitable, authority.key)))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("own.pem", b"", "not a PEM certificate"),
        ("own.pem", b"\xff" * 100, "not a PEM certificate"),
        ("own.pem", b"x" * 70000, "larger than 65536 bytes"),
        ("own.key", b"nothing", "not an unencrypted PEM private key"),
    ],
)
def test_invalid_file_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    settings = with_own_root(tmp_path, root())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"^{tmp_path / name}: .*{reason}"):
        open_at(settings)


def test_encrypted_key_is_named(tmp_path: Path) -> None:
    settings = with_own_root(tmp_path, root())
    (tmp_path / "own.key").write_bytes(
        new_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"words"),
        )
    )
    with pytest.raises(InputError, match=r"own\.key: not an unencrypted PEM private key"):
        open_at(settings)


def test_file_with_two_certificates_is_refused(tmp_path: Path) -> None:
    settings = with_own_root(tmp_path, root())
    (tmp_path / "own.pem").write_text(root().bundle * 2)
    with pytest.raises(InputError, match="holds 2 certificates"):
        open_at(settings)


def test_missing_file_is_named(tmp_path: Path) -> None:
    settings = with_own_root(tmp_path, root())
    (tmp_path / "own.key").unlink()
    with pytest.raises(InputError, match=r"own\.key: cannot be read: No such file"):
        open_at(settings)


def test_concurrent_starts_share_one_root(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        authorities = list(pool.map(lambda _: open_at(Settings(tmp_path)), range(8)))
    token = authorities[0].mint_token(ORDERS, 60)
    assert {authority.ca_sha256 for authority in authorities} == {authorities[0].ca_sha256}
    assert [authority.verify_token(token).identity for authority in authorities] == [ORDERS] * 8
    assert len(list((tmp_path / "ca").iterdir())) == 3


@pytest.mark.parametrize(
    ("changed", "setting"),
    [
        ({"svid_ttl": 0.0}, "MESH_SVID_TTL"),
        ({"svid_ttl": float("nan")}, "MESH_SVID_TTL"),
        ({"svid_ttl": 1e9}, "MESH_SVID_TTL"),
        ({"trust_domain": "Mesh Local"}, "MESH_TRUST_DOMAIN"),
        ({"trust_domain": "mesh.local/service/x"}, "MESH_TRUST_DOMAIN"),
        ({"advertise": "ö.example"}, "MESH_ADVERTISE"),
    ],
)
def test_invalid_setting_is_named(tmp_path: Path, changed: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=f"^{setting}: "):
        open_at(replace(Settings(tmp_path), **changed))
    assert list(tmp_path.iterdir()) == []


def test_server_key_is_not_in_the_repr(tmp_path: Path) -> None:
    certificate = open_at(Settings(tmp_path)).server_certificate()
    assert "PRIVATE" in certificate.key
    assert "PRIVATE" not in repr(certificate)


def test_token_for_another_trust_domain_is_not_minted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another trust domain"):
        open_at(Settings(tmp_path)).mint_token(Identity("other.local", "service", "orders"), 60)


def test_server_certificate_is_renewed_at_half_of_its_ttl(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    authority = open_authority(Settings(tmp_path, svid_ttl=100), clock)
    first = authority.server_certificate()
    clock.advance(49)
    assert authority.server_certificate() is first
    clock.advance(1)
    second = authority.server_certificate()
    assert second.certificate != first.certificate
    assert second.key != first.key


@pytest.mark.parametrize("step", [-600.0, -8 * 3600.0])
def test_server_certificate_is_valid_after_the_clock_was_set_back(tmp_path: Path, step: float) -> None:
    clock = FakeClock(NOW)
    authority = open_authority(Settings(tmp_path), clock)
    first = authority.server_certificate()
    clock.advance(-20)  # which its date allows for
    assert authority.server_certificate() is first
    clock.advance(step)
    certificate = x509.load_pem_x509_certificate(authority.server_certificate().certificate.encode())
    assert (
        certificate.not_valid_before_utc.timestamp() <= clock() < certificate.not_valid_after_utc.timestamp()
    )
