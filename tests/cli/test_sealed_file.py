"""The file of a backup: encrypted, authenticated, and refused when anything is wrong with it."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from meshwright.cli.backup import contents
from meshwright.cli.backup.sealed_file import NONCE_BYTES, SALT_BYTES, is_encrypted, seal, unseal
from meshwright.control_plane.errors import InputError

CONTENT: dict[str, Any] = {
    "about": {"revision": 3, "time": "now"},
    "files": {"ca/root.key": [0o600, "c2VjcmV0"]},
    "store": {},
}
RANDOM = bytes(range(SALT_BYTES + NONCE_BYTES))


@pytest.mark.parametrize("passphrase", [b"", b"correct horse"])
def test_a_sealed_content_comes_back_and_shows_nothing_if_encrypted(passphrase: bytes) -> None:
    data = seal(CONTENT, passphrase, RANDOM)
    assert is_encrypted(data) is bool(passphrase)
    assert unseal(data, passphrase) == CONTENT
    assert data.startswith(b'{"encrypted": ')


def test_a_wrong_passphrase_and_any_damage_are_refused() -> None:
    data = seal(CONTENT, b"right", RANDOM)
    for bad in (
        data[:-1],
        data[:-1] + bytes([data[-1] ^ 1]),
        data.replace(b'"version": 1', b'"version":  1'),
    ):
        with pytest.raises(InputError, match="passphrase is wrong, or the file is damaged"):
            unseal(bad, b"right")
    with pytest.raises(InputError, match="passphrase is wrong"):
        unseal(data, b"wrong")
    with pytest.raises(InputError, match="not copied completely"):
        unseal(seal(CONTENT, b"", RANDOM)[:-4], b"")
    with pytest.raises(InputError, match="version 2, not 1"):
        unseal(data.replace(b'"version": 1', b'"version": 2'), b"right")
    for other in (b"", b"\x1f\x8b\x00", b"{}\n", b"[]"):
        with pytest.raises(InputError, match="not a backup"):
            unseal(other, b"right")


def test_files_come_back_with_their_modes_and_others_of_their_folders_go(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for state in (old, new):
        (state / "ca").mkdir(parents=True, mode=0o700)
        state.chmod(0o700)
    (old / "ca" / "root.key").write_bytes(b"key")
    (old / "ca" / "root.key").chmod(0o600)
    (old / "ca" / "root.pem").write_bytes(b"pem")
    (old / "mesh.json").write_bytes(b"not in a backup")
    (new / "ca" / "tokens.key").write_bytes(b"another mesh's")
    files = contents.read_files(old)
    assert set(files) == {"ca/root.key", "ca/root.pem"}
    contents.write_files(new, files, 7)
    written = {path.name: path.read_bytes() for path in (new / "ca").iterdir()}
    assert written == {"root.key": b"key", "root.pem": b"pem"}
    assert ((new / "ca" / "root.key").stat().st_mode & 0o777, (new / "revision").read_text()) == (
        0o600,
        "7\n",
    )


@pytest.mark.parametrize("name", ["../x", "ca/../../x", "/etc/x", "x", "store/x", "ca/"])
def test_a_file_outside_of_the_folders_of_a_backup_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="not a file of a backup"):
        contents.from_json({**CONTENT, "files": {name: [0o600, ""]}})


@pytest.mark.parametrize("mistake", [None, "x", [], [1], {"a": "b"}, float("inf")])
def test_a_content_that_is_none_is_refused_before_anything_is_written(mistake: Any) -> None:
    assert contents.from_json(CONTENT)
    with pytest.raises(InputError):
        contents.from_json(mistake)
    for field in CONTENT:
        with pytest.raises(InputError):
            contents.from_json({**CONTENT, field: mistake})
    for field, key in (
        ("about", "revision"),
        ("about", "time"),
        ("files", "ca/root.key"),
        ("store", "mesh:x"),
    ):
        if (key, mistake) != ("time", "x"):
            with pytest.raises(InputError):
                contents.from_json({**CONTENT, field: {**CONTENT[field], key: mistake}})


def test_a_file_with_a_head_of_another_kind_is_refused() -> None:
    content = seal(CONTENT, b"", RANDOM).partition(b"\n")[2]
    salted = {"format": "meshwright backup", "version": 1, "encrypted": True, "salt": 5, "nonce": 6}
    for head, reason in (
        (b"[" * 200_000, "not a backup"),
        (b'{"format": "meshwright backup", "encrypted": false}', "not a backup"),
        (json.dumps(salted).encode(), "passphrase is wrong"),
    ):
        with pytest.raises(InputError, match=reason):
            unseal(head + b"\n" + content, b"x")
    deep = zlib.compress(b"[" * 200_000)
    head = b'{"format": "meshwright backup", "encrypted": false, "version": 1}\n'
    with pytest.raises(InputError, match="damaged"):
        unseal(head + deep, b"")


def test_a_restored_secret_is_for_nobody_else() -> None:
    files, _, _ = contents.from_json(
        {**CONTENT, "files": {"ca/root.key": [0o600, ""], "ca/root.pem": [0o777, ""]}}
    )
    assert [mode for mode, _ in files.values()] == [0o600, 0o644]
