"""The credential of an app: kept as long as its folder, known as a hash only, and never taken from others."""

from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import pytest

from meshwright.control_plane.core.caller_check import HASH, USER
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.proxy_credential import (
    CREDENTIAL_FILE,
    ProxyCredential,
    load_credential,
    load_from_environment_file,
)


def test_a_workload_keeps_its_credential(tmp_path: Path) -> None:
    first = load_credential(tmp_path)
    assert load_credential(tmp_path) == first
    assert stat.S_IMODE((tmp_path / CREDENTIAL_FILE).stat().st_mode) == 0o600
    (tmp_path / CREDENTIAL_FILE).unlink()
    assert load_credential(tmp_path) != first


@pytest.mark.parametrize("content", ["", "short", "a" * 42, "a" * 44, "a" * 42 + "@", "\xff" * 43])
def test_a_damaged_credential_is_replaced(tmp_path: Path, content: str) -> None:
    file = tmp_path / CREDENTIAL_FILE
    file.touch(0o600)
    file.write_text(content)
    credential = load_credential(tmp_path)
    assert len(credential.secret) == 43
    assert load_credential(tmp_path) == credential


def test_a_credential_that_others_know_is_refused(tmp_path: Path) -> None:
    load_credential(tmp_path)
    (tmp_path / CREDENTIAL_FILE).chmod(0o644)
    with pytest.raises(InputError, match="readable by others"):
        load_credential(tmp_path)


def test_the_hash_has_the_form_that_envoy_reads() -> None:
    credential = ProxyCredential("secret")
    assert (
        credential.secret_hash
        == base64.b64encode(hashlib.sha1(b"secret", usedforsecurity=False).digest()).decode()
    )
    assert HASH.fullmatch(credential.secret_hash)
    assert credential.userinfo == f"{USER}:secret@"


def test_an_environment_file_keeps_its_credential(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    new = load_from_environment_file(file)
    assert new != load_from_environment_file(file)
    file.touch(0o600)
    file.write_text(f"A=b\nHTTP_PROXY=http://{new.userinfo}127.0.0.1:15001\n")
    assert load_from_environment_file(file) == new
    file.chmod(0o664)
    with pytest.raises(InputError, match="others may write"):
        load_from_environment_file(file)
