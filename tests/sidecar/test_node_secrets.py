"""Certificates in files of a node: what is served, what is kept, what is reported."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from meshwright.control_plane.api.models.proxies import CertificateReport
from meshwright.control_plane.api.node_certificates import (
    CertificateFiles,
    joined,
    parse_secret_name,
)
from meshwright.sidecar.certificates import load_cas, load_pair
from meshwright.sidecar.node_secrets import NodeSecrets
from tests.fakes.clock import FakeClock

CA = trustme.CA()
SHOP = CertificateFiles("shop", "shop.crt", "shop.key")
NOW = datetime.now(UTC)


def pem(leaf: trustme.LeafCert) -> tuple[bytes, bytes]:
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


def write(folder: Path, certificate: bytes = b"", key: bytes = b"") -> None:
    (folder / "shop.crt").write_bytes(certificate)
    (folder / "shop.key").write_bytes(key)


def fetch(secrets: NodeSecrets, version: str = "") -> dict[str, object]:
    response = asyncio.run(secrets.fetch("ingress", SHOP.secret, version))
    assert response is not None
    return response


def report(secrets: NodeSecrets) -> CertificateReport:
    (entry,) = secrets.reports("ingress")
    return entry


@pytest.mark.parametrize(
    "files",
    [SHOP, CertificateFiles("a.b", "/x y/&=?.crt", "ü.key"), joined([CertificateFiles("a", cas=("x", "y"))])],
)
def test_secret_name_is_parsed_as_it_was_written(files: CertificateFiles) -> None:
    assert parse_secret_name(files.secret) == files


@pytest.mark.parametrize("name", ["shop", "certificate/a", "certificate/a?key=x", "x/a?certificate=a&key=b"])
def test_name_that_is_no_certificate_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        parse_secret_name(name)


def test_new_files_are_served_under_another_version(tmp_path: Path) -> None:
    secrets = NodeSecrets(tmp_path)
    write(tmp_path, *pem(CA.issue_cert("a.test", "127.0.0.1")))
    first = fetch(secrets)
    assert report(secrets).state == "valid"
    assert report(secrets).hosts == ("a.test", "127.0.0.1")
    write(tmp_path, *pem(CA.issue_cert("a.test")))
    second = fetch(secrets, str(first["version_info"]))
    assert first["version_info"] != second["version_info"]
    assert [item["name"] for item in second["resources"]] == [SHOP.secret]  # type: ignore[attr-defined]


def test_missing_files_are_answered_at_once_and_reported(tmp_path: Path) -> None:
    secrets = NodeSecrets(tmp_path)
    assert fetch(secrets)["resources"] == []
    assert report(secrets).state == "missing"
    assert report(secrets).message == f"{tmp_path}/shop.crt: no such file or directory"


@pytest.mark.parametrize("broken", ["other key", "no certificate", "expired", "gone"])
def test_files_that_cannot_be_used_keep_the_certificate_before_them(tmp_path: Path, broken: str) -> None:
    secrets = NodeSecrets(tmp_path)
    good = pem(CA.issue_cert("a.test"))
    write(tmp_path, *good)
    served = fetch(secrets)
    old = CA.issue_cert("a.test", not_before=NOW - timedelta(days=9), not_after=NOW - timedelta(days=1))
    match broken:
        case "other key":
            write(tmp_path, good[0], pem(CA.issue_cert("a.test"))[1])
        case "no certificate":
            write(tmp_path, b"nonsense", good[1])
        case "expired":
            write(tmp_path, *pem(old))
        case "gone":
            (tmp_path / "shop.key").unlink()
    assert fetch(secrets) == served
    assert report(secrets).state == "stale"
    assert "the one before is still used" in report(secrets).message


def test_expired_certificate_is_served_if_there_is_no_other(tmp_path: Path) -> None:
    clock = FakeClock(NOW.timestamp())
    secrets = NodeSecrets(tmp_path, clock)
    leaf = CA.issue_cert("a.test", not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=81))
    write(tmp_path, *pem(leaf))
    assert fetch(secrets)["resources"]
    states = []
    for days in (0, 66, 68, 82):
        clock.now = NOW.timestamp() + days * 86_400
        states.append(report(secrets).state)
    assert states == ["valid", "valid", "expiring", "expired"]
    assert "it expired at " in report(secrets).message


def test_file_that_everybody_may_write_to_is_not_used(tmp_path: Path) -> None:
    secrets = NodeSecrets(tmp_path)
    write(tmp_path, *pem(CA.issue_cert("a.test")))
    (tmp_path / "shop.key").chmod(0o666)
    assert fetch(secrets)["resources"] == []
    assert "everybody may write to it" in report(secrets).message


def key_pem(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, word: str = ""
) -> bytes:
    encryption = (
        serialization.BestAvailableEncryption(word.encode()) if word else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (key_pem(ec.generate_private_key(ec.SECP256K1())), "neither RSA nor P-256"),
        (key_pem(ed25519.Ed25519PrivateKey.generate()), "neither RSA nor P-256"),
        (key_pem(rsa.generate_private_key(65537, 1024)), "1024 bits"),  # noqa: S505  to be refused
        (key_pem(ec.generate_private_key(ec.SECP256R1()), "secret"), "encrypted"),
        (b"nonsense", "no private key"),
        (key_pem(ec.generate_private_key(ec.SECP256R1())), "not that of the"),
    ],
)
def test_key_that_envoy_would_refuse_is_named(key: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_pair(pem(CA.issue_cert("a.test"))[0], key)


def test_cas_are_one_secret() -> None:
    files = [CA.cert_pem.bytes(), trustme.CA().cert_pem.bytes()]
    text = load_cas(files).secret["validation_context"]["trusted_ca"]["inline_string"]
    assert text.count("BEGIN CERTIFICATE") == 2
    with pytest.raises(ValueError, match="no CA certificate"):
        load_cas([files[0], b"nonsense"])
