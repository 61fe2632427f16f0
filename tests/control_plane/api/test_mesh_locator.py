"""Which mesh a client talks to, and the errors if the settings are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshwright.control_plane.api.errors import UnreachableError
from meshwright.control_plane.api.mesh_locator import locate_mesh
from meshwright.control_plane.errors import InputError


def mesh(folder: Path, url: str = "http://127.0.0.1:15080", token: str = "t" * 43) -> Path:
    """A state directory."""
    folder.mkdir(exist_ok=True)
    (folder / "mesh.json").write_text(json.dumps({"admin": url, "xds": "", "enrolment": "", "ca_sha256": ""}))
    (folder / "admin.token").write_text(token + "\n")
    return folder


def test_option_then_mesh_api_then_state_then_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mesh(tmp_path / ".mesh", "http://127.0.0.1:1")
    state = mesh(tmp_path / "state", "http://127.0.0.1:2")
    option = mesh(tmp_path / "option", "127.0.0.1:3")
    token = tmp_path / "remote.token"
    token.write_text("remote")
    remote = {"MESH_API": "https://mesh.example/", "MESH_TOKEN_FILE": str(token)}
    assert locate_mesh({}).url == "http://127.0.0.1:1"
    assert locate_mesh({"MESH_STATE": str(state)}).url == "http://127.0.0.1:2"
    assert (locate_mesh(remote).url, locate_mesh(remote).token) == ("https://mesh.example", "remote")
    assert locate_mesh({**remote, "MESH_STATE": str(state)}).url == "https://mesh.example"
    assert locate_mesh({**remote, "MESH_STATE": str(state)}, option).url == "http://127.0.0.1:3"


def test_repr_hides_the_token(tmp_path: Path) -> None:
    assert "ttttt" not in repr(locate_mesh({}, mesh(tmp_path)))


def test_a_missing_mesh_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="start it with `mesh up`"):
        locate_mesh({}, tmp_path / "nothing")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"MESH_API": "http://x"}, "MESH_TOKEN_FILE is not"),
        ({"MESH_API": "http://x:99999", "MESH_TOKEN_FILE": "t"}, "is not a valid URL"),
        ({"MESH_API": "ftp://x", "MESH_TOKEN_FILE": "t"}, "is not a valid URL"),
        ({"MESH_API": "http://", "MESH_TOKEN_FILE": "t"}, "is not a valid URL"),
        ({"MESH_API": "http://x", "MESH_TOKEN_FILE": "/nonexistent"}, "no such token file"),
        ({"MESH_API": "http://x", "MESH_TOKEN_FILE": "/dev/null"}, "contains no token"),
        ({"MESH_API": "http://x", "MESH_TOKEN_FILE": "/dev/zero"}, "contains no token"),
        ({"MESH_API": "http://x", "MESH_TOKEN_FILE": "/"}, "cannot be read"),
    ],
)
def test_wrong_settings_are_reported(environ: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        locate_mesh(environ)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"admin": "ftp://x"}', '{"xds": "x"}', "\x00"])
def test_a_broken_mesh_json_is_reported(tmp_path: Path, text: str) -> None:
    mesh(tmp_path)
    (tmp_path / "mesh.json").write_text(text)
    with pytest.raises(InputError, match=r"mesh\.json"):
        locate_mesh({}, tmp_path)


def test_a_token_with_line_breaks_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no token"):
        locate_mesh({}, mesh(tmp_path, token="good\r\nX-Evil: 1"))
