"""How `mesh` fails: every exit code of the contract, and one clear line for every bad input."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from meshwright.cli.main import COMMANDS
from meshwright.control_plane.api.models.base import Condition, PolicyStatus, ProxyStatus, Status
from tests.cli.conftest import MESH, ROOT, Run
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh

LINE = re.compile(r"[^:]+:\d+:\d+: .{10,}")

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def proxy(state: str, revision: int, error: str = "", refused: int = 0) -> ProxyStatus:
    """A sidecar of orders that has answered everything."""
    return ProxyStatus.model_validate(
        {
            "name": "orders-1", "service": "orders", "state": state, "revision": revision, "error": error,
            "answered": 99, "refused": refused,
        }
    )  # fmt: skip


BAD: dict[str, tuple[str | bytes, str, str]] = {
    "yaml error": ("kind: Retry\n  x: : y\n", "2:", "YAML"),
    "unknown field": (retry() + "  atempts: 3\n", "10:3", "attempts"),
    "wrong type": (retry().replace("attempts: 2", "attempts: many"), "9:13", "number"),
    "unknown kind": (retry().replace("kind: Retry", "kind: Retri", 1), "2:7", "Retry"),
    "no kind": ("apiVersion: meshwright.io/v1\n", "1:1", "kind"),
    "two of one name": (retry() + "---\n" + retry(), ":", "second"),
    "ten megabytes": ("#" + "x" * 10_000_000, "1:1", "large"),
    "empty": ("", "1:1", "empty"),
    "no text": (b"\xff\xfe\x00\x01", "1:1", "UTF-8"),
    "alias bomb": (BOMB, ":", "values"),
    "deep": ("[" * 5000, "1:", "deep"),
    "a list": ("- 1\n- 2\n", "1:1", "document"),
}


@pytest.mark.parametrize("verb", ["apply", "validate"])
@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_a_line_with_its_place(
    mesh: FakeMesh, run: Run, tmp_path: Path, case: str, verb: str
) -> None:
    given, place, word = BAD[case]
    (tmp_path / "bad.yaml").write_bytes(given if isinstance(given, bytes) else given.encode())
    ran = await run(*([verb, "bad.yaml"] if verb == "validate" else [verb, "-f", "bad.yaml"]))
    assert ran.code == 2
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert lines
    assert all(LINE.fullmatch(line) for line in lines)
    assert lines[0].startswith(f"bad.yaml:{place}" if place != ":" else "bad.yaml:")
    assert word in ran.err
    assert len(mesh.store.revisions) == 1


async def test_one_bad_document_stops_all(mesh: FakeMesh, run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(retry())
    (tmp_path / "bad.yaml").write_text(retry(name="Not_A_Name"))
    ran = await run("apply", "-f", "good.yaml", "-f", "bad.yaml")
    assert (ran.code, ran.out, len(mesh.store.revisions)) == (2, "", 1)
    assert ran.err.startswith("bad.yaml:4:9: ")


async def test_paths_that_cannot_be_read(mesh: FakeMesh, run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in (("nowhere.yaml", "no such file"), ("empty", "holds no *.yaml")):
        ran = await run("apply", "-f", path)
        assert (ran.code, ran.err.startswith(f"{path}:1:1: "), words in ran.err) == (2, True, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["apply"],
        ["apply", "--nonsense"],
        ["apply", "-f"],
        ["apply", "-f", "x", "--timeout", "-1"],
        ["get", "-o", "xml"],
        ["get", "nokind"],
        ["show", "many"],
        ["show", "-1"],
        ["delete", "retry"],
        ["validate"],
        ["token", "create", "--service", "a", "--gateway", "b", "--out", "-"],
    ],
)
async def test_wrong_usage_exits_2_and_says_something(mesh: FakeMesh, run: Run, arguments: list[str]) -> None:
    ran = await run(*arguments)
    assert ran.code == 2
    assert ran.err.strip()
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["get"], ["history"], ["show", "1"], ["rollback", "1"], ["apply", "-f", "r.yaml"],
     ["diff", "-f", "r.yaml"], ["delete", "retry", "x"], ["token", "create", "--service", "a", "--out", "-"]],
)  # fmt: skip
async def test_no_control_plane_exits_3(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "r.yaml").write_text(retry())
    never_started = await run(*arguments)
    assert never_started.code == 3
    assert "start it with `mesh up`, or name its state with --state" in never_started.err
    token = tmp_path / "token"
    token.write_text("t" * 43)
    gone = await run(*arguments, env={"MESH_API": "http://127.0.0.1:1", "MESH_TOKEN_FILE": str(token)})
    assert gone.code == 3
    assert gone.err == (
        "control plane not reachable at http://127.0.0.1:1 (connection refused): "
        "start it with `mesh up`, or name its state with --state\n"
    )


async def test_a_remote_mesh_is_named_by_its_settings(mesh: FakeMesh, run: Run, tmp_path: Path) -> None:
    token = tmp_path / "elsewhere.token"
    token.write_text(mesh.token)
    here = {"MESH_API": mesh.url, "MESH_TOKEN_FILE": str(token), "MESH_STATE": ""}
    assert (await run("status", env=here)).code == 0
    token.write_text("x" * 43)
    wrong = await run("status", env=here)
    assert (wrong.code, "bearer token" in wrong.err) == (1, True)
    assert (await run("status", env={**here, "MESH_TOKEN_FILE": ""})).code == 2
    other = await run("status", "--state", str(mesh.state), env=here)
    assert other.code == 0


async def test_who_may_only_read_is_told_so_and_exits_1(mesh: FakeMesh, run: Run, tmp_path: Path) -> None:
    token = tmp_path / "read.token"
    token.write_text(mesh.read_token)
    (tmp_path / "r.yaml").write_text(retry())
    here = {"MESH_API": mesh.url, "MESH_TOKEN_FILE": str(token), "MESH_STATE": ""}
    for looking in (["status"], ["get"], ["history"], ["proxies"], ["topology"], ["traces"], ["events"]):
        assert (await run(*looking, env=here)).code == 0, looking
    differs = await run("diff", "-f", "r.yaml", env=here)
    assert (differs.code, differs.err, "attempts" in differs.out) == (1, "", True)
    closed = {
        "apply": ["apply", "-f", "r.yaml"],
        "delete": ["delete", "-f", "r.yaml", "--dry-run"],
        "rollback": ["rollback", "0"],
        "set_log_level": ["proxy", "orders-1", "log-level", "debug"],
        "proxy_logs": ["proxy", "orders-1", "logs"],
        "tap": ["tap", "orders"],
        "token": ["token", "create", "--service", "orders", "--out", "-"],
        "tokens": ["token", "list"],
        "revokeToken": ["token", "revoke", "id-1"],
    }
    for operation, arguments in closed.items():
        ran = await run(*arguments, env=here)
        assert (ran.code, ran.out) == (1, ""), arguments
        assert ran.err == f"this token may only read: {operation} takes the admin token\n"
    assert (len(mesh.store.revisions), mesh.tokens.tokens, mesh.commands) == (1, {}, [])


async def test_wait_follows_the_sidecars(mesh: FakeMesh, run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(retry())
    followed = await run("apply", "-f", "r.yaml", "--wait")
    assert (followed.code, followed.out.splitlines()[0]) == (0, "revision 1")

    mesh.proxies = (proxy("pending", 1),)
    late = await run("rollback", "0", "--wait", "--timeout", "0.2")
    assert late.code == 4
    assert "revision 2 is not everywhere after 0.2 s: orders-1 (pending, revision 1)" in late.err
    assert late.out.splitlines()[0] == "revision 2"

    mesh.proxies = (proxy("rejected", 2, "Invalid regex 'a('", refused=3),)
    rejected = await run("apply", "-f", "r.yaml", "--wait")
    assert rejected.code == 5
    assert rejected.err == "orders-1: rejected revision 3: Invalid regex 'a('\n"

    (tmp_path / "other.yaml").write_text(retry("other"))
    older = await run("apply", "-f", "other.yaml", "--wait")
    assert older.code == 0
    assert older.err == (
        "warning: this change stands, but orders-1 still refuses what revision 3 brought: "
        "Invalid regex 'a(': see `mesh status`\n"
    )
    refused = Condition(type="Rejected", status="True", reason="Rejected", message="Invalid regex 'a('")
    policy = PolicyStatus(kind="Retry", name="inventory-retry", conditions=(refused,))
    mesh.status = Status(revision=0, store="ok", policies=(policy,))
    assert (await run("apply", "-f", "other.yaml", "--wait")).code == 0
    given_again = await run("apply", "-f", "r.yaml", "--wait")
    assert given_again.code == 5
    assert given_again.err == "Retry/inventory-retry: rejected before: Invalid regex 'a('\n"

    mesh.proxies = (proxy("disconnected", 0),)
    assert (await run("delete", "-f", "r.yaml", "--wait")).code == 0


async def test_a_change_by_somebody_else_exits_6(mesh: FakeMesh, run: Run) -> None:
    mesh.store.conflict_next = True
    overtaken = await run("apply", "-f", "-", text=retry())
    assert overtaken.code == 6
    assert "revision 0 is no longer the newest (1 is)" in overtaken.err
    stale = await run("apply", "-f", "-", "--base", "0", text=retry())
    assert (stale.code, stale.out, len(mesh.store.revisions)) == (6, "", 2)
    assert (await run("apply", "-f", "-", "--base", "1", text=retry())).code == 0


async def test_a_store_that_is_away_exits_1(mesh: FakeMesh, run: Run) -> None:
    mesh.store.unavailable = True
    ran = await run("get")
    assert (ran.code, "the store at" in ran.err) == (1, True)


async def test_too_much_for_one_request_exits_2(mesh: FakeMesh, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(6):
        annotated = retry(f"r{number}").replace("spec:", f"  annotations: {{a: {'x' * 900_000}}}\nspec:")
        (folder / f"{number}.yaml").write_text(annotated)
    ran = await run("apply", "-f", "many")
    assert (ran.code, "4 MiB" in ran.err, len(mesh.store.revisions)) == (2, True, 1)


async def test_ctrl_c_exits_130(mesh: FakeMesh, tmp_path: Path) -> None:
    mesh.proxies = (proxy("pending", 0),)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MESH, "apply", "-f", "-", "--wait", "--state", str(mesh.state)),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdin
    assert child.stdout
    child.stdin.write(retry().encode())
    child.stdin.close()
    try:
        assert await asyncio.wait_for(child.stdout.readline(), 60) == b"revision 1\n"
        child.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(child.wait(), 60) == 130
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


@pytest.mark.parametrize("verb", [*(name for name in COMMANDS if name != "token"), "token create"])
async def test_the_help_of_every_verb_has_an_example(run: Run, verb: str) -> None:
    ran = await run(*verb.split(), "--help")
    assert (ran.code, "Example:" in ran.out, f"mesh {verb}" in ran.out) == (0, True, True)


async def test_foreign_text_cannot_paint_the_terminal(mesh: FakeMesh, run: Run) -> None:
    mesh.proxies = (proxy("rejected", 0, "\x1b[2J bad", refused=1),)
    for arguments in (["status"], ["apply", "-f", "-", "--wait"]):
        ran = await run(*arguments, text=retry())
        assert "bad" in ran.out + ran.err
        assert "\x1b" not in ran.out + ran.err
    assert json.loads((await run("status", "-o", "json")).out)["proxies"][0]["error"] == "\x1b[2J bad"
