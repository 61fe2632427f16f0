"""`mesh cert self-signed`."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.fakes.mesh_command import run_mesh


def test_certificate_is_written_privately_and_its_document_printed(tmp_path: Path) -> None:
    hosts = ("--host", "shop.test", "--host", "*.shop.test", "--host", "127.0.0.1")
    done = run_mesh(("cert", "self-signed", "shop", *hosts, "--state", str(tmp_path)), {})
    assert done.returncode == 0, done.stderr
    assert "kind: Certificate" in done.stdout
    files = {end: tmp_path / "certificates" / f"shop.{end}" for end in ("crt", "key")}
    assert {file.stat().st_mode & 0o777 for file in files.values()} == {0o600}
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files["crt"], files["key"])
    leaf = x509.load_pem_x509_certificate(files["crt"].read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["shop.test", "*.shop.test"]
    again = run_mesh(("cert", "self-signed", "shop", "--state", str(tmp_path)), {})
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    assert run_mesh(("cert", "self-signed", "shop", "--force", "--state", str(tmp_path)), {}).returncode == 0


@pytest.mark.parametrize("arguments", [("Shop",), ("shop", "--host", "a b"), ("shop", "--for", "9999d")])
def test_invalid_input_writes_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_mesh(("cert", "self-signed", *arguments, "--state", str(tmp_path)), {})
    assert (done.returncode, done.stdout) == (2, "")
    assert not list(tmp_path.iterdir())
