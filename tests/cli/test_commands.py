"""The commands against a fake admin API, run as a user runs them: output and exit code."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from meshwright.cli.durations import format_clock
from meshwright.control_plane.api.models.policies import Condition, PolicyStatus
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.status import (
    ControlPlaneAbsence,
    ControlPlaneStatus,
    ServiceStatus,
    Status,
)
from meshwright.control_plane.core.revision import RevisionDocument
from tests.cli.conftest import RunMesh
from tests.cli.samples import retry, timeout
from tests.fakes.admin_server import FakeMesh


async def test_apply_prints_the_revision_and_every_change(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    (tmp_path / "retry.yaml").write_text(retry())
    first = await run("apply", "-f", "retry.yaml", "-m", "it fails intermittently")
    assert (first.code, first.out, first.err) == (0, "revision 1\ncreated Retry/inventory-retry\n", "")
    info = mesh.store.revisions[1].info
    assert info.message == "it fails intermittently"
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
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
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
    result = await run("apply", "-f", "policies")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "revision 1", "created Retry/inventory-retry", "created Subset/v1", "created Timeout/orders-timeout",
    ]  # fmt: skip


async def test_apply_reads_stdin(mesh: FakeMesh, run: RunMesh) -> None:
    result = await run("apply", "-f", "-", text=retry())
    assert (result.code, result.out) == (0, "revision 1\ncreated Retry/inventory-retry\n")
    assert mesh.store.revisions[1].documents[0].source == "<stdin>:1"


async def test_dry_run_changes_nothing(mesh: FakeMesh, run: RunMesh) -> None:
    result = await run("apply", "-f", "-", "--dry-run", text=retry())
    assert result.code == 0
    assert "dry run" in result.out
    assert "created Retry/inventory-retry" in result.out
    assert len(mesh.store.revisions) == 1


async def test_a_missing_target_is_a_warning_and_applied(mesh: FakeMesh, run: RunMesh) -> None:
    result = await run("apply", "-f", "-", text=retry(service="nobody"))
    assert (result.code, len(mesh.store.revisions)) == (0, 2)
    assert result.err == "warning: Retry/inventory-retry: there is no Service nobody yet\n"


@pytest.mark.parametrize("word", ["Retry", "retry", "retries", "RETRY"])
async def test_get_accepts_a_kind_in_any_case_and_number(mesh: FakeMesh, run: RunMesh, word: str) -> None:
    await run("apply", "-f", "-", text=retry() + "---\n" + timeout())
    result = await run("get", word)
    assert result.code == 0
    assert result.out.splitlines()[0].split() == ["KIND", "NAME", "STATUS", "TARGET", "REVISION", "AGE"]
    assert [line.split() for line in result.out.splitlines()[1:]] == [
        ["Retry", "inventory-retry", "-", "Service/inventory", "-", "-"]
    ]


async def test_yaml_output_of_get_can_be_applied(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry() + "---\n" + timeout())
    exported = await run("get", "-o", "yaml")
    again = await run("apply", "-f", "-", text=exported.out)
    assert again.out.splitlines() == [
        "revision 1", "unchanged Retry/inventory-retry", "unchanged Timeout/orders-timeout",
    ]  # fmt: skip
    for ref in (("timeout", "orders-timeout"), ("timeout/orders-timeout",)):
        single = await run("get", *ref, "-o", "json")
        assert json.loads(single.out)["spec"]["request"] == "2s"
    listed = json.loads((await run("get", "-o", "json")).out)["items"]
    assert [document["kind"] for document in listed] == ["Retry", "Timeout"]


async def test_delete_takes_a_name_a_reference_or_files(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry() + "---\n" + timeout())
    by_name = await run("delete", "retries", "inventory-retry")
    assert (by_name.code, by_name.out) == (0, "revision 2\ndeleted Retry/inventory-retry\n")
    by_file = await run("delete", "-f", "-", text=timeout())
    assert (by_file.code, by_file.out) == (0, "revision 3\ndeleted Timeout/orders-timeout\n")
    await run("apply", "-f", "-", text=retry())
    by_ref = await run("delete", "retry/inventory-retry")
    assert (by_ref.code, by_ref.out) == (0, "revision 5\ndeleted Retry/inventory-retry\n")
    missing = await run("delete", "timeout", "orders-timeout")
    assert missing.code == 2
    assert "Timeout/orders-timeout" in missing.err
    assert (await run("get")).out == "no policies\n"


async def test_history_show_and_rollback(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", "-m", "first", text=retry())
    await run("apply", "-f", "-", "-m", "second", text=retry(attempts=9) + "---\n" + timeout())
    listed = json.loads((await run("history", "-o", "json")).out)["items"]
    assert [(r["revision"], r["message"]) for r in listed] == [(2, "second"), (1, "first")]
    assert listed[0]["time"].endswith("Z")
    table = (await run("history", "-n", "1")).out
    assert table.splitlines()[0].split() == ["REVISION", "TIME", "AUTHOR", "CHANGES", "MESSAGE"]
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


HOSTILE = "\x1b]0;title\x07eve\nFAKE 99 root \x9b2J\x7f\u202e"
"""What a terminal would interpret: OSC, BEL, a line feed, an 8-bit CSI, DEL and a change of direction."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "1"),
        ("show", "1", "-o", "json"),
        ("show", "1", "-o", "yaml"),
        ("history",),
        ("history", "-o", "json"),
        ("history", "-o", "yaml"),
        ("get",),
        ("get", "-o", "json"),
        ("get", "-o", "yaml"),
        ("status",),
        ("diff", "-f", "other.yaml"),
    ],
    ids=" ".join,
)
async def test_text_of_others_never_controls_the_terminal(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (document,) = YAML(typ="safe", pure=True).load_all(retry())
    document["metadata"] |= {"labels": {"owner": HOSTILE}, "annotations": {"note": HOSTILE}}
    revision = RevisionDocument(document, HOSTILE)
    await mesh.store.commit(0, [revision], author=HOSTILE, message=HOSTILE)
    mesh.status = Status(revision=1, store="degraded", problems=(HOSTILE,))
    (tmp_path / "other.yaml").write_text(retry(attempts=5))
    result = await run(*arguments)
    assert result.out
    assert [char for char in result.out if not char.isprintable() and char != "\n"] == []
    assert not any(line.startswith("FAKE") for line in result.out.splitlines())


DEGRADED_MESH = Status(
    revision=0,
    store="degraded",
    absence=ControlPlaneAbsence(since=1_790_000_000, until=1_790_000_004),
    control_planes=(
        ControlPlaneStatus(address="10.0.0.1:15012", admin="http://10.0.0.1:15080", state="this"),
        ControlPlaneStatus(
            address="10.0.0.2:15012", state="unreachable", unreachable_seconds=7.4, error="refused"
        ),
    ),
    services=(
        ServiceStatus(name="catalog", instances=1, healthy=1, health="healthy"),
        ServiceStatus(name="inventory", instances=2, healthy=1, health="degraded"),
        ServiceStatus(name="orders", instances=1, healthy=0, health="unhealthy", reason="no answer"),
        ServiceStatus(name="users", instances=0, healthy=0, health="idle"),
    ),
    policies=(
        PolicyStatus(
            kind="Retry",
            name="r",
            state="pending",
            acked=1,
            affected=2,
            conditions=(
                Condition(type="Accepted", status="True", reason="Accepted"),
                Condition(type="Programmed", status="False", reason="Pending", message="1 of 2 sidecars"),
            ),
        ),
    ),
)


async def test_status_shows_a_sign_and_a_word_for_every_state(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.status = DEGRADED_MESH
    mesh.proxies = (
        ProxyStatus(name="orders-1", service="orders", state="rejected", revision=3, error="bad\nregex"),
        ProxyStatus(name="users-1", service="users", state="disconnected", revision=0),
    )
    result = await run("status")
    assert result.code == 0
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in result.out.splitlines() if line}
    at = format_clock(DEGRADED_MESH.absence.since) if DEGRADED_MESH.absence else ""
    assert rows["revision"] == f"0 store ▲ degraded control plane was away for 4s at {at}"
    assert (rows["catalog"], rows["inventory"], rows["orders"]) == (
        "● healthy 1/1", "▲ degraded 1/2", "× unhealthy 0/1 no answer",
    )  # fmt: skip
    assert "users" not in rows, "idle services are hidden"
    assert "users " in (await run("status", "--all")).out
    assert rows["orders-1"] == "orders × rejected 3 bad regex"
    assert rows["users-1"] == "users ○ disconnected -", "nobody knows what it serves"
    assert rows["10.0.0.1:15012"] == "http://10.0.0.1:15080 ● this one"
    assert rows["10.0.0.2:15012"] == "× unreachable for 7s (refused)"
    assert rows["Retry/r"] == "▲ pending 1/2 ● Accepted ▲ not Programmed (1 of 2 sidecars)"
    assert "\x1b" not in result.out
    as_json = json.loads((await run("status", "-o", "json")).out)
    assert {"revision", "store", "services", "proxies", "policies"} <= as_json.keys()
    assert as_json["proxies"][1] | {
        "name": "users-1", "service": "users", "role": "service", "state": "disconnected", "error": "",
        "revision": 0, "responded_revision": 0, "rejected_revision": 0, "listeners": [],
    } == as_json["proxies"][1]  # fmt: skip


async def test_token_create_writes_a_private_file_or_stdout(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    result = await run("token", "create", "--service", "orders", "--ttl", "600", "--out", "orders.token")
    path = tmp_path / "orders.token"
    assert (result.code, path.read_text()) == (0, "token-of-service-orders-600\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "token-of" not in result.out + result.err
    shown = await run("token", "create", "--gateway", "ingress", "--out", "-")
    assert shown.out == "token-of-gateway-ingress-3600\n"
    assert (await run("token", "create", "--service", "orders")).code == 2
    assert (await run("token", "create", "--out", "-")).code == 2
    assert (await run("token", "create", "--service", "Not a name", "--out", "-")).code == 2


async def test_token_list_and_revoke_use_ids(mesh: FakeMesh, run: RunMesh) -> None:
    assert (await run("token", "list")).out == "no join tokens\n"
    created = await run("token", "create", "--service", "orders", "--ttl", "2h2m", "--out", "orders.token")
    assert created.out == "join token id-1 for service orders, valid for 2h: orders.token\n"
    await run("token", "create", "--gateway", "ingress", "--ttl", "1", "--out", "-")
    mesh.tokens.tokens["id-2"] = mesh.tokens.tokens["id-2"].model_copy(update={"expires": 0.0, "uses": 3})
    lines = [line.split() for line in (await run("token", "list")).out.splitlines()]
    assert lines[0] == ["ID", "TARGET", "STATE", "USES", "AUTHOR"]
    assert lines[1][:5] == ["id-2", "gateway/ingress", "○", "expired", "3"]
    assert lines[2][:6] == ["id-1", "service/orders", "●", "valid", "for", "2h"]
    assert (await run("token", "revoke", "id-1")).out == "token id-1 revoked\n"
    listed = json.loads((await run("token", "list", "-o", "json")).out)["items"]
    assert {token["id"]: token["revoked"] for token in listed} == {"id-1": True, "id-2": False}
    missing = await run("token", "revoke", "id-9")
    assert (missing.code, missing.err) == (2, "no such token: id-9\n")


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("rejected", "× rejected 1/3"),
        ("conflicted", "▲ conflicted"),
        ("target-not-found", "▲ target not found"),
        ("no-effect", "▲ no effect"),
        ("partial", "▲ partial"),
        ("pending", "▲ pending 1/3"),
        ("unused", "○ unused"),
        ("programmed", "● programmed 1/3"),
    ],
)
async def test_status_shows_the_policy_state_of_the_control_plane(
    mesh: FakeMesh, run: RunMesh, state: str, shown: str
) -> None:
    policy = PolicyStatus.model_validate(
        {"kind": "Retry", "name": "r", "state": state, "acked": 1, "affected": 3}
    )
    mesh.status = Status(revision=0, store="ok", policies=(policy,))
    assert f"Retry/r  {shown}  ○ none yet" in (await run("status")).out


async def test_status_of_one_policy_shows_parents_and_listeners(mesh: FakeMesh, run: RunMesh) -> None:
    accepted = {"type": "Accepted", "status": "True", "reason": "Accepted"}
    missing = {
        "type": "Accepted", "status": "False", "reason": "NoMatchingParent",
        "message": "spec.parentRefs[0].sectionName: Gateway ingress has no listener 'x'",
    }  # fmt: skip
    parent = {"kind": "Gateway", "name": "ingress", "section": "x", "port": 81, "conditions": [missing]}
    listener = {
        "name": "http", "port": 80, "bound_port": 8080, "protocol": "HTTP", "supported_kinds": ["HTTPRoute"],
        "attached_routes": 1, "conditions": [accepted],
    }  # fmt: skip
    policies = (
        {"kind": "HTTPRoute", "name": "r", "state": "partial", "parents": [parent], "conditions": [accepted]},
        {"kind": "Gateway", "name": "ingress", "state": "unused", "listeners": [listener]},
    )
    mesh.status = Status.model_validate({"revision": 1, "store": "ok", "policies": policies})
    route = (await run("status", "httproutes/r")).out.splitlines()
    assert route == [
        "HTTPRoute/r   ▲ partial",
        "  ● Accepted True (Accepted)",
        "",
        "parent Gateway/ingress, section x, port 81",
        "  × Accepted False (NoMatchingParent): spec.parentRefs[0].sectionName: Gateway ingress has no "
        "listener 'x'",
    ]
    gateway = (await run("status", "gateway/ingress")).out.splitlines()
    assert gateway[2:] == [
        "listener http   HTTP *:80 (bound to 8080)   1 route attached   accepts HTTPRoute",
        "  ● Accepted True (Accepted)",
    ]
    detail = json.loads((await run("status", "Gateway/ingress", "-o", "json")).out)
    assert detail["listeners"][0]["attached_routes"] == 1
    unknown = await run("status", "gateway/none")
    assert (unknown.code, "no such policy: gateway/none" in unknown.err) == (2, True)


async def test_verbose_lists_ignored_fields(mesh: FakeMesh, run: RunMesh, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(f"{retry().rstrip()}\nstatus: {{}}\n")
    for command in (("apply", "-f"), ("validate",)):
        quiet, verbose = await run(*command, "r.yaml"), await run(*command, "r.yaml", "-v")
        assert "ignored" not in quiet.err
        assert ": status: ignored" in verbose.err


async def test_skip_unknown_skips_foreign_kinds_and_says_so(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: orders}\n"
    (tmp_path / "all.yaml").write_text(f"{service}---\n{retry()}")
    refused = await run("apply", "-f", "all.yaml")
    assert (refused.code, "`mesh apply --skip-unknown` skips it" in refused.err) == (2, True)
    skipped = "all.yaml:1:1: kind 'Service' is not a policy of the mesh: skipped\n"
    for command, code, out in (
        ("validate", 0, "1 document valid"), ("diff", 1, "Retry"), ("apply", 0, "created Retry"),
    ):  # fmt: skip
        result = await run(command, "-f", "all.yaml", "--skip-unknown")
        assert (result.code, out in result.out, result.err) == (code, True, skipped)


async def test_json_output_of_get_can_be_applied(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry() + "---\n" + timeout())
    exported = await run("get", "-o", "json")
    again = await run("apply", "-f", "-", text=exported.out)
    assert again.out.splitlines() == [
        "revision 1", "unchanged Retry/inventory-retry", "unchanged Timeout/orders-timeout",
    ]  # fmt: skip
