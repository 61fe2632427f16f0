"""Every verb against an admin API, as a user runs it: what it prints and how it ends."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.api.models.base import (
    Condition,
    ControlPlaneStatus,
    PolicyStatus,
    ProxyStatus,
    ServiceStatus,
    Status,
)
from tests.cli.conftest import Run
from tests.cli.samples import retry, timeout
from tests.fakes.admin_server import FakeMesh


async def test_apply_prints_the_revision_and_every_change(mesh: FakeMesh, run: Run, tmp_path: Path) -> None:
    (tmp_path / "retry.yaml").write_text(retry())
    first = await run("apply", "-f", "retry.yaml", "-m", "it fails now and then")
    assert (first.code, first.out, first.err) == (0, "revision 1\ncreated Retry/inventory-retry\n", "")
    info = mesh.store.revisions[1].info
    assert info.message == "it fails now and then"
    assert "@" in info.author
    assert mesh.store.revisions[1].documents[0].source == "retry.yaml:1"

    again = await run("apply", "-f", "retry.yaml")
    assert (again.code, again.out) == (0, "revision 1\nunchanged Retry/inventory-retry\n")
    (tmp_path / "retry.yaml").write_text(retry(attempts=3))
    changed = await run("apply", "-f", "retry.yaml", "-o", "json")
    assert json.loads(changed.out) == {
        "revision": 2,
        "changed": [{"kind": "Retry", "name": "inventory-retry", "action": "changed"}],
    }


async def test_a_folder_is_one_revision_and_only_policy_files_are_read(
    mesh: FakeMesh, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "b.yml").write_text(retry())
    (folder / "a.yaml").write_text(timeout())
    (folder / "notes.txt").write_text("not: a policy")
    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": "Subset",
        "metadata": {"name": "v1"},
        "spec": {"service": "inventory", "labels": {"version": "v1"}},
    }
    (folder / "c.json").write_text(json.dumps(document))
    ran = await run("apply", "-f", "policies")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "revision 1", "created Retry/inventory-retry", "created Subset/v1", "created Timeout/orders-timeout",
    ]  # fmt: skip


async def test_stdin_is_a_file(mesh: FakeMesh, run: Run) -> None:
    ran = await run("apply", "-f", "-", text=retry())
    assert (ran.code, ran.out) == (0, "revision 1\ncreated Retry/inventory-retry\n")
    assert mesh.store.revisions[1].documents[0].source == "<stdin>:1"


async def test_dry_run_changes_nothing(mesh: FakeMesh, run: Run) -> None:
    ran = await run("apply", "-f", "-", "--dry-run", text=retry())
    assert ran.code == 0
    assert "dry run" in ran.out
    assert "created Retry/inventory-retry" in ran.out
    assert len(mesh.store.revisions) == 1


async def test_a_missing_target_is_a_warning_and_applied(mesh: FakeMesh, run: Run) -> None:
    ran = await run("apply", "-f", "-", text=retry(service="nobody"))
    assert (ran.code, len(mesh.store.revisions)) == (0, 2)
    assert ran.err == "warning: Retry/inventory-retry: there is no Service nobody yet\n"


@pytest.mark.parametrize("word", ["Retry", "retry", "retries", "RETRY"])
async def test_get_knows_a_kind_by_its_words(mesh: FakeMesh, run: Run, word: str) -> None:
    await run("apply", "-f", "-", text=retry() + "---\n" + timeout())
    ran = await run("get", word)
    assert ran.code == 0
    assert ran.out.splitlines()[0].split() == ["KIND", "NAME", "FOR"]
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["Retry", "inventory-retry", "Service/inventory"]
    ]


async def test_what_get_prints_as_yaml_can_be_applied(mesh: FakeMesh, run: Run) -> None:
    await run("apply", "-f", "-", text=retry() + "---\n" + timeout())
    whole = await run("get", "-o", "yaml")
    again = await run("apply", "-f", "-", text=whole.out)
    assert again.out.splitlines() == [
        "revision 1", "unchanged Retry/inventory-retry", "unchanged Timeout/orders-timeout",
    ]  # fmt: skip
    one = await run("get", "timeout", "orders-timeout", "-o", "json")
    assert json.loads(one.out)["spec"]["request"] == "2s"
    assert [d["kind"] for d in json.loads((await run("get", "-o", "json")).out)] == ["Retry", "Timeout"]


async def test_delete_by_name_and_by_file(mesh: FakeMesh, run: Run) -> None:
    await run("apply", "-f", "-", text=retry() + "---\n" + timeout())
    one = await run("delete", "retries", "inventory-retry")
    assert (one.code, one.out) == (0, "revision 2\ndeleted Retry/inventory-retry\n")
    rest = await run("delete", "-f", "-", text=timeout())
    assert (rest.code, rest.out) == (0, "revision 3\ndeleted Timeout/orders-timeout\n")
    gone = await run("delete", "timeout", "orders-timeout")
    assert gone.code == 2
    assert "Timeout/orders-timeout" in gone.err
    assert (await run("get")).out == "no policies\n"


async def test_diff_says_what_an_apply_would_change(mesh: FakeMesh, run: Run) -> None:
    await run("apply", "-f", "-", text=retry())
    same = await run("diff", "-f", "-", text=retry())
    assert (same.code, same.out) == (0, "")
    other = await run("diff", "-f", "-", text=retry(attempts=5))
    assert other.code == 1
    assert {"--- a/Retry/inventory-retry", "-  attempts: 2", "+  attempts: 5"} <= set(other.out.splitlines())
    assert len(mesh.store.revisions) == 2


async def test_history_show_and_rollback(mesh: FakeMesh, run: Run) -> None:
    await run("apply", "-f", "-", "-m", "first", text=retry())
    await run("apply", "-f", "-", "-m", "second", text=retry(attempts=9) + "---\n" + timeout())
    listed = await run("history", "-o", "json")
    assert [(r["revision"], r["why"]) for r in json.loads(listed.out)] == [(2, "second"), (1, "first")]
    table = (await run("history", "-n", "1")).out
    assert table.splitlines()[0].split() == ["REVISION", "TIME", "AUTHOR", "CHANGES", "WHY"]
    assert "changed Retry/inventory-retry, created Timeout/orders-timeout" in table
    assert "first" not in table

    back = await run("rollback", "1")
    assert back.out.splitlines() == [
        "revision 3", "changed Retry/inventory-retry", "deleted Timeout/orders-timeout",
    ]  # fmt: skip
    assert mesh.store.revisions[3].documents == mesh.store.revisions[1].documents
    assert mesh.store.revisions[3].info.message == "rollback to revision 1"
    shown = json.loads((await run("show", "2", "-o", "json")).out)
    assert (shown["revision"], len(shown["documents"])) == (2, 2)
    assert "second" in (await run("show", "2")).out
    as_yaml = (await run("show", "1", "-o", "yaml")).out
    assert YAML(typ="safe").load(as_yaml)["spec"]["attempts"] == 2
    missing = await run("rollback", "77")
    assert (missing.code, "revision 77" in missing.err) == (2, True)


async def test_status_has_signs_and_words(mesh: FakeMesh, run: Run) -> None:
    mesh.status = Status(
        revision=0,
        store="degraded",
        control_planes=(
            ControlPlaneStatus(address="10.0.0.1:15012", admin="http://10.0.0.1:15080", state="this"),
            ControlPlaneStatus(
                address="10.0.0.2:15012", state="silent", unreachable_seconds=7.4, error="refused"
            ),
        ),
        services=(
            ServiceStatus(name="catalog", instances=1, healthy=1),
            ServiceStatus(name="inventory", instances=2, healthy=1),
            ServiceStatus(name="orders", instances=1, healthy=0),
            ServiceStatus(name="users", instances=0, healthy=0),
        ),
        policies=(
            PolicyStatus(
                kind="Retry",
                name="r",
                conditions=(
                    Condition(type="Accepted", status="True", reason="Accepted"),
                    Condition(type="Programmed", status="False", reason="Pending", message="1 of 2 sidecars"),
                ),
            ),
        ),
    )
    mesh.proxies = (
        ProxyStatus(name="orders-1", service="orders", state="rejected", revision=3, error="bad\nregex"),
        ProxyStatus(name="users-1", service="users", state="disconnected", revision=0),
    )
    ran = await run("status")
    assert ran.code == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in ran.out.splitlines() if line}
    assert rows["revision"] == "0 store ◐ degraded"
    assert (rows["catalog"], rows["inventory"], rows["orders"], rows["users"]) == (
        "● 1/1", "◐ 1/2", "✖ 0/1", "○ 0/0",
    )  # fmt: skip
    assert rows["orders-1"] == "orders ✖ rejected 3 bad regex"
    assert rows["users-1"] == "users ○ disconnected 0"
    assert rows["10.0.0.1:15012"] == "http://10.0.0.1:15080 ● this one"
    assert rows["10.0.0.2:15012"] == "✖ silent for 7 s (refused)"
    assert rows["Retry/r"] == "● Accepted ◐ not Programmed (1 of 2 sidecars)"
    assert "\x1b" not in ran.out
    answered = json.loads((await run("status", "-o", "json")).out)
    assert {"revision", "store", "services", "proxies", "policies"} <= answered.keys()
    assert answered["proxies"][1] == {
        "name": "users-1", "service": "users", "state": "disconnected", "revision": 0, "error": "",
        "answered": 0, "refused": 0,
    }  # fmt: skip


async def test_a_token_goes_to_a_private_file(mesh: FakeMesh, run: Run, tmp_path: Path) -> None:
    ran = await run("token", "create", "--service", "orders", "--ttl", "600", "--out", "orders.token")
    path = tmp_path / "orders.token"
    assert (ran.code, path.read_text()) == (0, "token-of-service-orders-600\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "token-of" not in ran.out + ran.err
    shown = await run("token", "create", "--gateway", "ingress", "--out", "-")
    assert shown.out == "token-of-gateway-ingress-3600\n"
    assert (await run("token", "create", "--service", "orders")).code == 2
    assert (await run("token", "create", "--out", "-")).code == 2
    assert (await run("token", "create", "--service", "Not a name", "--out", "-")).code == 2


async def test_tokens_are_listed_and_revoked_by_their_ids(mesh: FakeMesh, run: Run) -> None:
    assert (await run("token", "list")).out == "no join tokens\n"
    made = await run("token", "create", "--service", "orders", "--ttl", "7300", "--out", "orders.token")
    assert made.out == "join token id-1 of service orders, valid for 7300 s: orders.token\n"
    await run("token", "create", "--gateway", "ingress", "--ttl", "1", "--out", "-")
    mesh.tokens.tokens["id-2"] = mesh.tokens.tokens["id-2"].model_copy(update={"expires": 0.0, "uses": 3})
    lines = [line.split() for line in (await run("token", "list")).out.splitlines()]
    assert lines[0] == ["ID", "FOR", "STATE", "USES", "BY"]
    assert lines[1][:5] == ["id-2", "gateway/ingress", "○", "expired", "3"]
    assert lines[2][:6] == ["id-1", "service/orders", "●", "for", "2", "h"]
    assert (await run("token", "revoke", "id-1")).out == "token id-1 is revoked\n"
    listed = json.loads((await run("token", "list", "-o", "json")).out)
    assert {one["id"]: one["revoked"] for one in listed} == {"id-1": True, "id-2": False}
    missing = await run("token", "revoke", "id-9")
    assert (missing.code, missing.err) == (2, "token id-9: there is none\n")


async def test_schema_and_validate_need_no_control_plane(run: Run, tmp_path: Path) -> None:
    made = await run("schema", "timeouts")
    assert json.loads(made.out)["properties"]["kind"]["const"] == "Timeout"
    explained = await run("schema", "retry", "--explain")
    assert "perTryTimeout" in explained.out
    assert "Example" in explained.out
    assert "HTTPRoute" in (await run("schema")).out.splitlines()
    unknown = await run("schema", "retri")
    assert (unknown.code, "Retry" in unknown.err) == (2, True)
    (tmp_path / "r.yaml").write_text(retry())
    valid = await run("validate", "r.yaml", "-", text=timeout())
    assert (valid.code, valid.out) == (0, "2 documents valid\n")
