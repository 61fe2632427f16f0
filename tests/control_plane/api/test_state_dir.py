"""Unix sockets of a state directory, whatever the length of its path."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from meshwright.control_plane.api.private_files import private_folder
from meshwright.control_plane.api.state_dir import SOCKETS, UNIX_PATH_LIMIT, socket_path

LENGTHS = range(UNIX_PATH_LIMIT - 30, UNIX_PATH_LIMIT + 12)
"""Lengths of a folder's path around the limit for every socket's name."""


def folder_of(length: int, root: Path, letter: str = "x") -> Path:
    """A folder below `root` whose path has `length` bytes."""
    missing = length - len(str(root).encode()) - 1
    size = len(letter.encode())
    return root / (letter * (missing // size) + "y" * (missing % size))


@pytest.mark.parametrize("letter", ["x", "ü"])
@pytest.mark.parametrize("length", LENGTHS)
def test_all_sockets_of_a_folder_fit_and_are_together(length: int, letter: str) -> None:
    folder = folder_of(length, Path("/srv"), letter)
    assert len(str(folder).encode()) == length
    paths = [socket_path(folder, name) for name in SOCKETS]
    assert len({path.parent for path in paths}) == 1
    assert all(len(str(path).encode()) <= UNIX_PATH_LIMIT for path in paths)
    assert [path.name for path in paths] == list(SOCKETS)


def test_a_socket_is_in_its_folder_where_every_name_fits() -> None:
    fits = UNIX_PATH_LIMIT - 1 - max(map(len, SOCKETS))
    for length, inside in ((fits, True), (fits + 1, False)):
        folder = folder_of(length, Path("/srv"))
        assert {socket_path(folder, name).parent == folder for name in SOCKETS} == {inside}


def test_a_socket_that_is_not_listed_is_refused() -> None:
    with pytest.raises(ValueError, match="is not one of"):
        socket_path(Path("/srv"), "other.sock")


def test_folders_do_not_share_a_short_one() -> None:
    names = {socket_path(Path("/srv") / letter / ("x" * 120), SOCKETS[0]) for letter in "abc"}
    assert len(names) == 3


def test_a_temporary_folder_with_a_long_path_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/" + "t" * 90)
    path = socket_path(Path("/srv") / ("x" * 120), SOCKETS[-1])
    assert len(str(path)) <= UNIX_PATH_LIMIT


@pytest.mark.parametrize("length", LENGTHS)
def test_every_socket_can_be_bound(length: int, tmp_path: Path) -> None:
    folder = private_folder(folder_of(max(length, len(str(tmp_path)) + 3), tmp_path))
    for name in SOCKETS:
        path = socket_path(folder, name)
        private_folder(path.parent)
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(path))
        path.unlink()
    if path.parent != folder:
        path.parent.rmdir()
