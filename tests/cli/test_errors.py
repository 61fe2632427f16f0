"""Errors of `mesh`: the exit codes of the contract, and one clear line for each problem."""

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
from meshwright.control_plane.api.models.policies import Condition, PolicyStatus
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.core.patches import Misfit
from tests.cli.conftest import MESH, ROOT, RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh

LINE = re.compile(r"[^:]+:\d+:\d+: .{10,}")

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def proxy(state: str, revision: int, error: str = "", rejected_revision: int = 0) -> ProxyStatus:
    """A sidecar of orders that has responded to everything."""
    return ProxyStatus.model_validate(
        {
            "name": "orders-1", "service": "orders", "state": state, "revision": revision, "error": error,
            "responded_revision": 99, "rejected_revision": rejected_revision,
        }
    )  # fmt: skip


BAD: dict[str, tuple[str | bytes, str, str]] = {
    "yaml error": ("kind: Retry\n  x: : y\n", "2:", "YAML"),
    "unknown field": (retry() + "  atempts: 3\n", "10:3", "attempts"),
    "wrong type": (retry().replace("attempts: 2", "attempts: many"), "9:13", "number"),
    "unknown kind": (retry().replace("kind: Retry", "kind: Retri", 1), "2:7", "Retry"),
    "no kind": ("apiVersion: meshwright.io/v1\n", "1:1", "kind"),
    "two of one name": (retry() + "---\n" + retry(), "14:9", "already defined"),
    "ten megabytes": ("#" + "x" * 10_000_000, "1:1", "large"),
    "empty": ("", "1:1", "empty"),
    "no text": (b"\xff\xfe\x00\x01", "1:1", "UTF-8"),
    "alias bomb": (BOMB, ":", "values"),
    "deep": ("[" * 5000, "1:", "deep"),
    "a list": ("- 1\n- 2\n", "1:1", "document"),
}


@pytest.mark.parametrize("command", ["apply", "validate"])
@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_reported_with_its_position(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path, case: str, command: str
) -> None:
    content, position, word = BAD[case]
    (tmp_path / "bad.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = await run(*([command, "bad.yaml"] if command == "validate" else [command, "-f", "bad.yaml"]))
    assert result.code == 2
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines
    assert all(LINE.fullmatch(line) for line in lines)
    assert lines[0].startswith(f"bad.yaml:{position}" if position != ":" else "bad.yaml:")
    assert word in result.err
    assert len(mesh.store.revisions) == 1


async def test_one_bad_document_prevents_the_whole_apply(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    (tmp_path / "good.yaml").write_text(retry())
    (tmp_path / "bad.yaml").write_text(retry(name="Not_A_Name"))
    result = await run("apply", "-f", "good.yaml", "-f", "bad.yaml")
    assert (result.code, result.out, len(mesh.store.revisions)) == (2, "", 1)
    assert result.err.startswith("bad.yaml:4:9: ")


PATCH = """apiVersion: meshwright.io/v1
kind: EnvoyPatch
metadata: {name: p}
spec:
  targetRefs: [{kind: Service, name: orders}]
  patches:
    - {type: Listener, name: outbound, operations: [{op: remove, path: /a}]}
    - type: Listener
      name: inbound
      operations:
        - {op: remove, path: /a}
        - {op: remove, path: /b}
"""


@pytest.mark.parametrize("command", ["apply", "diff"])
async def test_patch_that_does_not_fit_is_an_error_and_one_of_a_missing_resource_a_warning(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path, command: str
) -> None:
    (tmp_path / "patch.yaml").write_text(PATCH)
    place = ("EnvoyPatch/p", "Listener", "inbound", "orders")
    mesh.unfitting = (Misfit(*place, "there is no /b", 1),)
    result = await run(command, "-f", "patch.yaml")
    expected = "patch.yaml:12:11: spec.patches[1].operations[1]: Listener inbound of orders: there is no /b\n"
    assert (result.code, result.err, len(mesh.store.revisions)) == (2, expected, 1)
    mesh.unfitting = (Misfit(*place, "there is no such resource", is_missing=True),)
    result = await run("apply", "-f", "patch.yaml")
    assert result.code == 0
    expected = "EnvoyPatch/p does not change Listener inbound of orders: there is no such resource"
    assert expected in result.err


async def test_an_unreadable_path_is_named_without_a_position(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    messages = {
        "nowhere.yaml": "nowhere.yaml: no such file or directory\n",
        "empty": "empty: contains no *.yaml, *.yml, *.json files\n",
    }
    for path, message in messages.items():
        result = await run("apply", "-f", path)
        assert (result.code, result.err) == (2, message)


async def test_an_application_file_is_not_taken_for_a_policy(run: RunMesh, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("apiVersion: meshwright.io/v1\nkind: Application\n")
    advice = "an Application is not a policy: start it with `mesh up -f FILE`\n"
    assert (await run("apply", "-f", "mesh.yaml")).err == f"mesh.yaml:2:7: {advice}"


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
async def test_wrong_usage_exits_2_with_a_message(mesh: FakeMesh, run: RunMesh, arguments: list[str]) -> None:
    result = await run(*arguments)
    assert result.code == 2
    assert result.err.strip()
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["proxy", "a", "log"],
            "'VIEW': 'log' is not one of 'listeners', 'routes', 'clusters', 'endpoints', 'certs', 'config', "
            "'stats', 'logs', 'log-level', 'evict'.",
        ),
        (["token", "create", "--ttl", "soon"], "'--ttl': 'soon' is not a duration"),
        (["token", "create", "--ttl", "1000h"], "'--ttl': must be from 1s to 720h"),
        (["events", "--kind", "nonsense"], "'nonsense' is not one of 'revision', 'nack',"),
        (["traces", "--min-duration", "fast"], "'--min-duration': 'fast' is not a duration"),
        (["history", "-n", "many"], "not a valid integer"),
        (["history", "-n", "0"], "must be 1 or more"),
        (["history", "-n", "1001"], "must be 1000 or less"),
    ],
)
async def test_usage_errors_name_the_option_and_not_the_validator(
    run: RunMesh, arguments: list[str], message: str
) -> None:
    result = await run(*arguments)
    assert result.code == 2
    assert message in result.err
    assert "Value error" not in result.err
    assert "Input should" not in result.err


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["get"], ["history"], ["show", "1"], ["rollback", "1"], ["apply", "-f", "r.yaml"],
     ["diff", "-f", "r.yaml"], ["delete", "retry", "x"], ["token", "create", "--service", "a", "--out", "-"]],
)  # fmt: skip
async def test_no_control_plane_exits_3(run: RunMesh, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "r.yaml").write_text(retry())
    never_started = await run(*arguments)
    assert never_started.code == 3
    assert "start it with `mesh up`, or name its state with --state" in never_started.err
    token = tmp_path / "token"
    token.write_text("t" * 43)
    refused = await run(*arguments, env={"MESH_API": "http://127.0.0.1:1", "MESH_TOKEN_FILE": str(token)})
    assert refused.code == 3
    assert refused.err == (
        "control plane not reachable at http://127.0.0.1:1 (connection refused): "
        "start it with `mesh up`, or name its state with --state\n"
    )


async def test_mesh_api_selects_a_remote_mesh(mesh: FakeMesh, run: RunMesh, tmp_path: Path) -> None:
    token = tmp_path / "elsewhere.token"
    token.write_text(mesh.token)
    environment = {"MESH_API": mesh.url, "MESH_TOKEN_FILE": str(token), "MESH_STATE": ""}
    assert (await run("status", env=environment)).code == 0
    token.write_text("x" * 43)
    wrong = await run("status", env=environment)
    assert (wrong.code, "bearer token" in wrong.err) == (1, True)
    assert (await run("status", env={**environment, "MESH_TOKEN_FILE": ""})).code == 2
    other = await run("status", "--state", str(mesh.state), env=environment)
    assert other.code == 0


async def test_a_read_only_token_reads_and_cannot_change(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    token = tmp_path / "read.token"
    token.write_text(mesh.read_token)
    (tmp_path / "r.yaml").write_text(retry())
    environment = {"MESH_API": mesh.url, "MESH_TOKEN_FILE": str(token), "MESH_STATE": ""}
    for arguments in (["status"], ["get"], ["history"], ["proxies"], ["topology"], ["traces"], ["events"]):
        assert (await run(*arguments, env=environment)).code == 0, arguments
    differs = await run("diff", "-f", "r.yaml", env=environment)
    assert (differs.code, differs.err, "attempts" in differs.out) == (1, "", True)
    admin_only = {
        "apply": ["apply", "-f", "r.yaml"],
        "delete": ["delete", "-f", "r.yaml", "--dry-run"],
        "rollback": ["rollback", "1"],
        "set_log_level": ["proxy", "orders-1", "log-level", "debug"],
        "proxy_logs": ["proxy", "orders-1", "logs"],
        "evict_proxy": ["proxy", "orders-1", "evict"],
        "tap": ["tap", "orders"],
        "create_token": ["token", "create", "--service", "orders", "--out", "-"],
        "tokens": ["token", "list"],
        "revoke_token": ["token", "revoke", "id-1"],
    }
    for operation, arguments in admin_only.items():
        result = await run(*arguments, env=environment)
        assert (result.code, result.out) == (1, ""), arguments
        assert result.err == f"this token is read-only: {operation} requires the admin token\n"
    assert (len(mesh.store.revisions), mesh.tokens.tokens, mesh.commands) == (1, {}, [])


async def test_wait_reports_rollout_timeout_and_rejection(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    (tmp_path / "r.yaml").write_text(retry())
    followed = await run("apply", "-f", "r.yaml", "--wait")
    assert (followed.code, followed.out.splitlines()[0]) == (0, "revision 1")

    mesh.proxies = (proxy("pending", 1),)
    late = await run("delete", "-f", "r.yaml", "--wait", "--timeout", "0.2")
    assert late.code == 4
    assert "revision 2 is not ACKed everywhere after 0.2 s: orders-1 (pending, revision 1)" in late.err
    assert late.out.splitlines()[0] == "revision 2"

    mesh.proxies = (proxy("rejected", 2, "Invalid regex 'a('", rejected_revision=3),)
    rejected = await run("apply", "-f", "r.yaml", "--wait")
    assert rejected.code == 5
    assert rejected.err == "orders-1: rejected revision 3: Invalid regex 'a('\n"

    (tmp_path / "other.yaml").write_text(retry("other"))
    older = await run("apply", "-f", "other.yaml", "--wait")
    assert older.code == 0
    assert older.err == (
        "warning: this change is applied, but orders-1 still rejects revision 3: "
        "Invalid regex 'a(': see `mesh status`\n"
    )
    rejection = Condition(type="Rejected", status="True", reason="Rejected", message="Invalid regex 'a('")
    policy = PolicyStatus(kind="Retry", name="inventory-retry", conditions=(rejection,))
    mesh.status = Status(revision=0, store="ok", policies=(policy,))
    assert (await run("apply", "-f", "other.yaml", "--wait")).code == 0
    applied_again = await run("apply", "-f", "r.yaml", "--wait")
    assert applied_again.code == 5
    assert applied_again.err == "Retry/inventory-retry: rejected earlier: Invalid regex 'a('\n"

    mesh.proxies = (proxy("disconnected", 0),)
    assert (await run("delete", "-f", "r.yaml", "--wait")).code == 0


async def test_strict_applies_nothing_with_a_name_that_refers_to_nothing(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    (tmp_path / "r.yaml").write_text(retry() + "---\n" + retry("typo", service="inventroy"))
    for strict in (("--strict",), ("--wait",), ("--strict", "--dry-run")):
        refused = await run("apply", "-f", "r.yaml", *strict)
        assert refused.code == 2
        assert refused.err.startswith("r.yaml:18:7: spec.targetRefs[0].name: there is no Service inventroy")
    assert not mesh.store.revisions[1:]
    applied = await run("apply", "-f", "r.yaml", "--wait", "--no-strict")
    assert (applied.code, applied.err.count("warning")) == (0, 1)
    assert (await run("apply", "-f", "r.yaml")).code == 0


async def test_a_concurrent_change_exits_6_with_a_base_and_is_built_upon_without(
    mesh: FakeMesh, run: RunMesh
) -> None:
    mesh.store.conflict_next = True
    assert (await run("apply", "-f", "-", text=retry())).code == 0
    assert [revision.info.message for revision in mesh.store.revisions][1] == "quicker"
    stale = await run("apply", "-f", "-", "--expect-revision", "0", text=retry())
    assert (stale.code, stale.out, len(mesh.store.revisions)) == (6, "", 3)
    assert "revision 0 is no longer the newest (2 is)" in stale.err
    assert (await run("apply", "-f", "-", "--expect-revision", "2", text=retry())).code == 0


async def test_an_unavailable_store_exits_1(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.store.unavailable = True
    result = await run("get")
    assert (result.code, "the store at" in result.err) == (1, True)


async def test_an_oversized_request_exits_2(mesh: FakeMesh, run: RunMesh, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(6):
        annotated = retry(f"r{number}").replace("spec:", f"  annotations: {{a: {'x' * 900_000}}}\nspec:")
        (folder / f"{number}.yaml").write_text(annotated)
    result = await run("apply", "-f", "many")
    assert (result.code, "4 MiB" in result.err, len(mesh.store.revisions)) == (2, True, 1)


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


GROUPS = {"grafana": "export", "prometheus": "export", "systemd": "export", "token": "create"}


@pytest.mark.parametrize("name", [*COMMANDS, *(f"{group} {name}" for group, name in GROUPS.items())])
async def test_the_help_of_every_command_has_an_example(run: RunMesh, name: str) -> None:
    result = await run(*name.split(), "--help")
    assert (result.code, "Example:" in result.out, f"mesh {name}" in result.out) == (0, True, True)
    assert not re.search(r"<(int|float|str|list)|\[\[|\{", result.out), "a type where a word belongs"


async def test_control_characters_of_others_do_not_reach_the_terminal(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.proxies = (proxy("rejected", 0, "\x1b[2J bad", rejected_revision=1),)
    for arguments in (["status"], ["apply", "-f", "-", "--wait"]):
        result = await run(*arguments, text=retry())
        assert "bad" in result.out + result.err
        assert "\x1b" not in result.out + result.err
    assert json.loads((await run("status", "-o", "json")).out)["proxies"][0]["error"] == "\x1b[2J bad"
