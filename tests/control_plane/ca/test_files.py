"""The CA's files: made once, kept, and refused when they cannot be right."""

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
from tests.control_plane.ca.keys import NOW, ORDERS, key_pem, new_key, request, root


def opened(settings: Settings, now: float = NOW) -> CertificateAuthority:
    return open_authority(settings, lambda: now)


def given(folder: Path, authority: issue.RootAuthority, key: str = "") -> Settings:
    """Settings that name the root as files of the user's."""
    certificate_file, key_file = folder / "own.pem", folder / "own.key"
    certificate_file.write_text(authority.bundle)
    key_file.touch(0o600)
    key_file.write_text(key or key_pem(authority.key))
    return Settings(folder / "state", ca_certificate=str(certificate_file), ca_key=str(key_file))


def test_the_first_start_makes_what_later_starts_keep(tmp_path: Path) -> None:
    first = opened(Settings(tmp_path))
    token = first.mint_token(ORDERS, 600)
    second = opened(Settings(tmp_path), NOW + 300)
    assert second.ca_sha256 == first.ca_sha256
    assert second.verify_token(token).identity == ORDERS
    svid = x509.load_pem_x509_certificate(second.sign_csr(request(new_key()), ORDERS).certificate.encode())
    svid.verify_directly_issued_by(x509.load_pem_x509_certificate(first.bundle.encode()))
    folder = tmp_path / "ca"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"root.pem": 0o644, "root.key": 0o600, "tokens.key": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_start_cut_short_after_the_key_goes_on_with_that_key(tmp_path: Path) -> None:
    opened(Settings(tmp_path))
    key = (tmp_path / "ca/root.key").read_bytes()
    (tmp_path / "ca/root.pem").unlink()
    opened(Settings(tmp_path))
    assert (tmp_path / "ca/root.key").read_bytes() == key


@pytest.mark.parametrize("name", ["root.key", "tokens.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    opened(Settings(tmp_path))
    path = tmp_path / "ca" / name
    path.chmod(mode)
    with pytest.raises(InputError, match=f"^{path}: .*chmod 600 {path}$"):
        opened(Settings(tmp_path))


def test_a_lost_root_key_is_said_and_not_replaced(tmp_path: Path) -> None:
    opened(Settings(tmp_path))
    (tmp_path / "ca/root.key").unlink()
    with pytest.raises(InputError, match=r"root\.key: missing beside root\.pem"):
        opened(Settings(tmp_path))


def test_a_damaged_token_key_is_said(tmp_path: Path) -> None:
    opened(Settings(tmp_path))
    (tmp_path / "ca/tokens.key").write_bytes(b"short")
    with pytest.raises(InputError, match=r"tokens\.key: has 5 bytes instead of 32"):
        opened(Settings(tmp_path))


def test_a_state_of_another_trust_domain_is_refused(tmp_path: Path) -> None:
    opened(Settings(tmp_path))
    with pytest.raises(InputError, match=r"root\.pem: no root for this mesh: it is of spiffe://mesh\.local"):
        opened(Settings(tmp_path, trust_domain="other.local"))


def test_a_root_of_the_users_own_signs(tmp_path: Path) -> None:
    own = root()
    authority = opened(given(tmp_path, own))
    assert authority.ca_sha256 == own.ca_sha256
    svid = authority.sign_csr(request(new_key()), ORDERS)
    x509.load_pem_x509_certificate(svid.certificate.encode()).verify_directly_issued_by(own.certificate)
    assert sorted(path.name for path in (tmp_path / "state/ca").iterdir()) == ["tokens.key"]


def test_control_planes_with_one_tokens_key_honour_each_others_tokens(tmp_path: Path) -> None:
    shared = tmp_path / "shared.key"
    shared.write_bytes(bytes(range(32)))
    shared.chmod(0o600)
    own = root()
    one = opened(replace(given(tmp_path, own), state=tmp_path / "one", ca_tokens_key=str(shared)))
    other = opened(replace(given(tmp_path, own), state=tmp_path / "other", ca_tokens_key=str(shared)))
    assert other.verify_token(one.mint_token(ORDERS, 60)).identity == ORDERS


def test_a_given_tokens_key_is_never_made(tmp_path: Path) -> None:
    missing = tmp_path / "none.key"
    with pytest.raises(InputError, match=r"none\.key: cannot be read"):
        opened(Settings(tmp_path, ca_tokens_key=str(missing)))
    assert not missing.exists()


def test_half_a_root_names_the_missing_setting(tmp_path: Path) -> None:
    settings = given(tmp_path, root())
    with pytest.raises(InputError, match=r"^MESH_CA_KEY: missing"):
        opened(replace(settings, ca_key=""))
    with pytest.raises(InputError, match=r"^MESH_CA_CERTIFICATE: missing"):
        opened(replace(settings, ca_certificate=""))


def test_a_key_of_another_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own\.key: is not the key of .*own\.pem"):
        opened(given(tmp_path, root(), key_pem(new_key())))


@pytest.mark.parametrize("offset", [-3600, issue.ROOT_LIFETIME.total_seconds()])
def test_a_root_not_valid_now_is_refused(tmp_path: Path, offset: float) -> None:
    with pytest.raises(InputError, match=r"own\.pem: valid from .* not now"):
        opened(given(tmp_path, root()), NOW + offset)


def test_a_certificate_that_is_no_root_is_refused(tmp_path: Path) -> None:
    authority, key = root(), new_key()
    leaf = issue.issue_svid(authority, request(key), ORDERS, NOW, ttl=3600, serial=3)
    certificate = x509.load_pem_x509_certificate(leaf.certificate.encode())
    with pytest.raises(InputError, match=r"own\.pem: not self-signed"):
        opened(given(tmp_path, issue.RootAuthority("mesh.local", certificate, key)))


@pytest.mark.parametrize(
    ("ca", "signs", "reason"), [(False, True, "no CA"), (True, False, "may not sign certificates")]
)
def test_a_self_signed_certificate_without_a_roots_rights_is_refused(
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
    poor = builder.sign(authority.key, hashes.SHA256())
    with pytest.raises(InputError, match=rf"own\.pem: no root for this mesh: .*{reason}"):
        opened(given(tmp_path, issue.RootAuthority("mesh.local", poor, authority.key)))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("own.pem", b"", "no PEM certificate"),
        ("own.pem", b"\xff" * 100, "no PEM certificate"),
        ("own.pem", b"x" * 70000, "larger than 65536 bytes"),
        ("own.key", b"nothing", "no unencrypted PEM private key"),
    ],
)
def test_files_that_hold_something_else_are_named(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    settings = given(tmp_path, root())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"^{tmp_path / name}: .*{reason}"):
        opened(settings)


def test_an_encrypted_key_is_named(tmp_path: Path) -> None:
    settings = given(tmp_path, root())
    (tmp_path / "own.key").write_bytes(
        new_key().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"words"),
        )
    )
    with pytest.raises(InputError, match=r"own\.key: no unencrypted PEM private key"):
        opened(settings)


def test_two_certificates_in_one_file_are_refused(tmp_path: Path) -> None:
    settings = given(tmp_path, root())
    (tmp_path / "own.pem").write_text(root().bundle * 2)
    with pytest.raises(InputError, match="holds 2 certificates"):
        opened(settings)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    settings = given(tmp_path, root())
    (tmp_path / "own.key").unlink()
    with pytest.raises(InputError, match=r"own\.key: cannot be read: No such file"):
        opened(settings)


def test_two_starts_at_once_end_up_with_one_root(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        authorities = list(pool.map(lambda _: opened(Settings(tmp_path)), range(8)))
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
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, changed: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=f"^{setting}: "):
        opened(replace(Settings(tmp_path), **changed))
    assert list(tmp_path.iterdir()) == []


def test_the_own_key_is_in_no_log(tmp_path: Path) -> None:
    pair = opened(Settings(tmp_path)).server_certificate()
    assert "PRIVATE" in pair.key
    assert "PRIVATE" not in repr(pair)


def test_tokens_are_for_this_mesh_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another trust domain"):
        opened(Settings(tmp_path)).mint_token(Identity("other.local", "service", "orders"), 60)


def test_the_own_certificate_is_made_anew_at_half_of_its_life(tmp_path: Path) -> None:
    now = [NOW]
    authority = open_authority(Settings(tmp_path, svid_ttl=100), lambda: now[0])
    first = authority.server_certificate()
    now[0] += 49
    assert authority.server_certificate() is first
    now[0] += 1
    second = authority.server_certificate()
    assert second.certificate != first.certificate
    assert second.key != first.key
