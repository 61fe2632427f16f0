"""Folders and files that secrets and addresses are read from."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwright.control_plane.api.private_files import (
    SIZE_LIMIT,
    check_folder,
    private_folder,
    read_named,
    read_private,
)
from meshwright.control_plane.errors import InputError


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Each usual umask."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.usefixtures("umask")
def test_a_new_folder_and_its_new_parents_are_private_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "logs"
    assert private_folder(folder) == folder
    assert mode(folder) == mode(folder.parent) == 0o700
    folder.chmod(0o755)
    assert mode(private_folder(folder)) == 0o700


def test_a_missing_folder_is_no_problem_for_readers(tmp_path: Path) -> None:
    check_folder(tmp_path / "state")


@pytest.mark.parametrize("bits", [0o777, 0o775, 0o757, 0o720, 0o702, 0o1777, 0o2775])
def test_a_folder_to_which_others_may_write_is_refused(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(bits)
    for check in (check_folder, private_folder):
        with pytest.raises(InputError, match=f"state: others may write to it .*run chmod 700 {folder}"):
            check(folder)


def test_links_and_files_in_place_of_a_folder_are_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    victim.chmod(0o755)
    link, dangling, file = tmp_path / "link", tmp_path / "dangling", tmp_path / "file"
    link.symlink_to(victim)
    dangling.symlink_to(tmp_path / "nowhere")
    file.touch()
    for path, reason in ((link, "symbolic link"), (dangling, "symbolic link"), (file, "not a folder")):
        for check in (check_folder, private_folder):
            with pytest.raises(InputError, match=reason):
                check(path)
    assert mode(victim) == 0o755
    assert not (tmp_path / "nowhere").exists()


def test_a_file_is_read_if_only_its_owner_may_change_it(tmp_path: Path) -> None:
    path = tmp_path / "mesh.json"
    path.write_text("content")
    for bits in (0o600, 0o644, 0o400):
        path.chmod(bits)
        assert read_private(path) == b"content"
    for bits in (0o666, 0o664, 0o646, 0o620):
        path.chmod(bits)
        with pytest.raises(InputError, match=f"others may write to it .*run chmod 600 {path}"):
            read_private(path)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    path.write_text("hunter2")
    for bits in (0o644, 0o640, 0o604, 0o610):
        path.chmod(bits)
        with pytest.raises(InputError, match="readable by others") as caught:
            read_private(path, secret=True)
        assert "hunter2" not in str(caught.value)
    path.chmod(0o600)
    assert read_private(path, secret=True) == b"hunter2"


def test_links_pipes_and_large_files_are_not_read(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_bytes(b"x" * (SIZE_LIMIT + 1))
    link.symlink_to(target)
    os.mkfifo(pipe, 0o600)
    for path, reason in ((target, "larger than"), (link, "symbolic link"), (pipe, "not a file")):
        path.chmod(0o600) if path is target else None
        with pytest.raises(InputError, match=reason):
            read_private(path)
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "missing")


def test_a_named_file_may_be_a_link_or_of_another_user_but_not_everybodys(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("token")
    link.symlink_to(target)
    for bits in (0o600, 0o640, 0o644, 0o660):
        target.chmod(bits)
        assert read_named(link) == b"token"
    if os.geteuid() == 0:
        os.chown(target, 65534, 65534)
        assert read_named(link, 3) == b"tok"
    target.chmod(0o666)
    with pytest.raises(InputError, match="everybody may write to it"):
        read_named(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file to another user")
def test_what_belongs_to_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    file = folder / "admin.token"
    file.write_text("planted")
    file.chmod(0o600)
    for path in (folder, file):
        os.chown(path, 65534, 65534)
    for check in (check_folder, private_folder):
        with pytest.raises(InputError, match=r"state: belongs to uid 65534, not a folder of yours \(uid 0\)"):
            check(folder)
    with pytest.raises(InputError, match=r"admin\.token: belongs to uid 65534"):
        read_private(file)
