"""Issued certificates, verified by OpenSSL."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.ca.authority import CertificateAuthority, open_authority
from meshwright.control_plane.config import Settings
from tests.control_plane.ca.keys import ORDERS, AnyKey, csr, new_key, rsa_key

OPENSSL = ["openssl", "verify", "-x509_strict", "-check_ss_sig"]


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    authority = open_authority(Settings(tmp_path))
    (tmp_path / "bundle.pem").write_text(authority.bundle)
    return authority


def verify(folder: Path, certificate: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "leaf.pem").write_text(certificate)
    command = [*OPENSSL, *options, "-CAfile", str(folder / "bundle.pem"), str(folder / "leaf.pem")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
@pytest.mark.parametrize("key", [new_key(), ec.generate_private_key(ec.SECP384R1()), rsa_key(2048)])
def test_openssl_accepts_an_svid_for_client_and_server(
    tmp_path: Path, authority: CertificateAuthority, key: AnyKey, purpose: str
) -> None:
    svid = authority.sign_csr(csr(key, [ORDERS.uri]), ORDERS).certificate
    result = verify(tmp_path, svid, "-purpose", purpose)
    assert result.returncode == 0, result.stderr


def test_openssl_accepts_the_control_planes_certificate_for_its_names(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    certificate = authority.server_certificate().certificate
    for name in (["-verify_hostname", CONTROL_PLANE_DNS], ["-verify_ip", "127.0.0.1"]):
        result = verify(tmp_path, certificate, "-purpose", "sslserver", *name)
        assert result.returncode == 0, result.stderr
    assert verify(tmp_path, certificate, "-verify_hostname", "orders.mesh").returncode != 0


def test_openssl_rejects_an_expired_svid(tmp_path: Path, authority: CertificateAuthority) -> None:
    svid = authority.sign_csr(csr(new_key()), ORDERS).certificate
    now = int(time.time())
    assert verify(tmp_path, svid, "-attime", str(now + 3500)).returncode == 0
    late = verify(tmp_path, svid, "-attime", str(now + 3700))
    assert late.returncode != 0
    assert "certificate has expired" in late.stderr


def test_openssl_rejects_an_svid_of_another_mesh(tmp_path: Path, authority: CertificateAuthority) -> None:
    other = open_authority(Settings(tmp_path / "other"))
    assert verify(tmp_path, other.sign_csr(csr(new_key()), ORDERS).certificate).returncode != 0
