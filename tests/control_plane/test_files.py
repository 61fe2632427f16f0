"""Files with secrets: bounded, closed to others, readable to the group only as Kubernetes mounts them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meshwright.control_plane.errors import InputError
from meshwright.control_plane.files import SIZE_LIMIT, password, read


def written(folder: Path, content: bytes, mode: int) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o666])
def test_a_secret_in_the_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, b"x", mode)
    with pytest.raises(InputError, match=f"mode {mode:04o}.*chmod 600"):
        read(path, secret=True)
    assert read(path, secret=False) == b"x"


@pytest.mark.parametrize(("mode", "fine"), [(0o440, True), (0o640, True), (0o460, False), (0o444, False)])
def test_somebody_elses_secret_may_be_the_groups_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, fine: bool
) -> None:
    path = written(tmp_path, b"x", mode)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    if fine:
        assert read(path, secret=True) == b"x"
    else:
        with pytest.raises(InputError, match="others may read"):
            read(path, secret=True)


def test_a_password_is_the_first_line(tmp_path: Path) -> None:
    assert password(written(tmp_path, b"hunter two\nand more\n", 0o600)) == "hunter two"


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\n", "is no text")]
)
def test_a_file_without_a_password_is_said(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        password(written(tmp_path, content, 0o600))


def test_what_is_too_large_or_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="larger than"):
        read(written(tmp_path, bytes(SIZE_LIMIT + 1), 0o600), secret=True)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read(tmp_path / "none", secret=True)
