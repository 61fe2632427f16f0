"""`mesh context`: meshes by name, and which mesh a command is about."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import RunMesh
from tests.fakes.admin_server import FakeMesh


@pytest.fixture
def configured(mesh: FakeMesh, tmp_path: Path) -> dict[str, str]:
    """The environment of a user with a token's file, and no other setting that names a mesh."""
    (tmp_path / "prod.token").write_text(mesh.token)
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "MESH_STATE": ""}


async def test_a_context_names_a_mesh(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path, configured: dict[str, str]
) -> None:
    added = await run(
        "context", "add", "prod", "--api", mesh.url, "--token-file", "prod.token", env=configured
    )
    assert (added.code, added.out) == (0, "context prod added\n"), added.err
    file = tmp_path / "config/meshwright/contexts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert mesh.token not in file.read_text()

    assert (await run("get", env=configured)).code == 3
    assert (await run("--context", "prod", "get", env=configured)).out == "no policies\n"
    assert (await run("get", env={**configured, "MESH_CONTEXT": "prod"})).code == 0
    unknown = await run("--context", "prd", "get", env=configured)
    assert (unknown.code, unknown.err) == (2, "no such context: prd: did you mean prod?\n")

    assert (await run("context", "use", "prod", env=configured)).err == ""
    assert (await run("get", env=configured)).out == "no policies\n"
    token = str(tmp_path / "prod.token")
    listed = json.loads((await run("context", "list", "-o", "json", env=configured)).out)["items"]
    assert listed == [
        {"name": "prod", "current": True, "api": mesh.url, "token_file": token, "state": ""}
    ]  # fmt: skip
    assert (await run("context", "list", env=configured)).out.splitlines()[1].split()[:2] == ["*", "prod"]
    assert (await run("context", "remove", "prod", env=configured)).out == "context prod removed\n"
    assert (await run("get", env=configured)).code == 3


async def test_the_mesh_of_a_folder_comes_before_the_context_in_use(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path, configured: dict[str, str]
) -> None:
    await run("context", "add", "shop", "--state", str(mesh.state), env=configured)
    assert (await run("--context", "shop", "get", env=configured)).code == 0
    (tmp_path / ".mesh").mkdir(mode=0o700)
    used = await run("context", "use", "shop", env=configured)
    assert used.err == "warning: commands here are about another mesh: ./.mesh comes first\n"
    assert (await run("get", env=configured)).code == 3


async def test_a_command_of_this_host_refuses_a_remote_context(
    mesh: FakeMesh, run: RunMesh, configured: dict[str, str]
) -> None:
    await run("context", "add", "prod", "--api", mesh.url, "--token-file", "prod.token", env=configured)
    for command in (["down"], ["scale", "orders=2"]):
        refused = await run("--context", "prod", *command, env=configured)
        assert (refused.code, "context prod is not a mesh of this host" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "a b", "--state", "x"], "'a b' is not a name of a context"),
        (["add", "a"], "nothing to add: give --api and --token-file, or --state"),
        (["add", "a", "--state", "x", "--api", "http://x"], "--state and --api exclude each other"),
        (["add", "a", "--api", "http://x", "--token-file", "nothing"], "no such token file"),
        (["use", "a"], "no such context: a: see `mesh context list`"),
    ],
)
async def test_a_mistake_is_explained_and_changes_nothing(
    run: RunMesh, tmp_path: Path, configured: dict[str, str], arguments: list[str], message: str
) -> None:
    result = await run("context", *arguments, env=configured)
    assert (result.code, message in result.err) == (2, True), result.err
    assert not (tmp_path / "config").exists()


async def test_a_damaged_file_is_named(run: RunMesh, tmp_path: Path, configured: dict[str, str]) -> None:
    (tmp_path / "config/meshwright").mkdir(parents=True, mode=0o700)
    (tmp_path / "config/meshwright/contexts.json").write_text("[]")
    result = await run("context", "list", env=configured)
    assert (result.code, "contexts.json:1:1: cannot be read" in result.err) == (2, True)
