"""Secret files: limited in size, private, group-readable only as Kubernetes mounts them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meshwright.control_plane.errors import InputError
from meshwright.control_plane.files import SIZE_LIMIT, password, read


def secret_file(folder: Path, content: bytes, mode: int) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o666])
def test_exposed_secret_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, b"x", mode)
    with pytest.raises(InputError, match=f"mode {mode:04o}.*chmod 600"):
        read(path, secret=True)
    assert read(path, secret=False) == b"x"


@pytest.mark.parametrize(("mode", "allowed"), [(0o440, True), (0o640, True), (0o460, False), (0o444, False)])
def test_group_may_read_a_secret_of_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, allowed: bool
) -> None:
    path = secret_file(tmp_path, b"x", mode)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    if allowed:
        assert read(path, secret=True) == b"x"
    else:
        with pytest.raises(InputError, match="readable by others"):
            read(path, secret=True)


def test_password_is_the_first_line(tmp_path: Path) -> None:
    assert password(secret_file(tmp_path, b"hunter two\nand more\n", 0o600)) == "hunter two"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\n", "is not text")]
)
def test_file_without_a_password_is_an_error(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        password(secret_file(tmp_path, content, 0o600))


def test_large_or_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="larger than"):
        read(secret_file(tmp_path, bytes(SIZE_LIMIT + 1), 0o600), secret=True)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read(tmp_path / "none", secret=True)
