"""What `mesh up` changes on a running mesh: only what differs, in an order that callers do not notice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from meshwright.cli.application import read_application
from meshwright.cli.reconcile.applied import AppliedApplication, applied_application, load_applied
from meshwright.cli.reconcile.changes import plan_changes, with_names_of
from meshwright.sidecar.config import AppPort, Workload
from tests.cli.conftest import RunMesh
from tests.fakes.admin_server import FakeMesh


def workload(name: str, service: str = "", **fields: Any) -> Workload:
    command = None if fields.get("role") == "gateway" else ("run",)
    fields = {"ports": (AppPort(),), "command": command, **fields}
    return Workload(name=name, service=service or name.rpartition("-")[0], token_file=Path("t"), **fields)


def orders(number: int, **fields: Any) -> Workload:
    return workload(f"orders-{number}", **fields)


def shown(*arguments: Any, **options: Any) -> list[tuple[str, str, str, str]]:
    """Each change as (action, old, new, reason)."""
    return [
        (
            change.action,
            change.old.name if change.old else "",
            change.new.name if change.new else "",
            change.reason,
        )
        for change in plan_changes(*arguments, **options)
    ]


def test_equal_instances_stay_whatever_their_names_are() -> None:
    assert shown([orders(3), orders(1)], [orders(1), orders(2)]) == []


def test_a_missing_instance_gets_a_free_name() -> None:
    why = "4 instances instead of 1"
    assert shown([orders(2)], [orders(n) for n in (1, 2, 3, 4)], taken=["orders-3"]) == [
        ("start", "", f"orders-{number}", why) for number in (1, 4, 5)
    ]


def test_the_last_of_too_many_instances_are_stopped_one_by_one() -> None:
    running = [orders(2), orders(1), orders(3)]
    why = "1 instance instead of 3"
    assert shown(running, [orders(1)]) == [("stop", "orders-3", "", why), ("stop", "orders-1", "", why)]


def test_changed_instances_are_replaced_in_turn_under_names_that_are_free_then() -> None:
    running = [orders(1, env={"A": "1", "SECRET": "x"}), orders(2, env={"A": "1", "SECRET": "x"})]
    desired = [orders(n, env={"A": "2", "SECRET": "y"}, command=("go",)) for n in (1, 2)]
    why = "command, env A, env SECRET"
    assert shown(running, desired) == [
        ("replace", "orders-1", "orders-3", why),
        ("replace", "orders-2", "orders-1", why),
    ]


def test_instances_that_are_added_start_before_others_are_replaced() -> None:
    changes = shown([orders(1)], [orders(n, labels={"version": "v2"}) for n in (1, 2)])
    assert changes == [
        ("start", "", "orders-2", "2 instances instead of 1"),
        ("replace", "orders-1", "orders-3", "label version"),
    ]


def test_the_most_similar_instance_is_replaced() -> None:
    stable, canary = {"labels": {"version": "v1"}}, {"labels": {"version": "v2"}, "env": {"A": "1"}}
    running = [orders(1, **stable), orders(2, **canary)]
    desired = [orders(1, **canary | {"env": {"A": "2"}}), orders(2, **stable)]
    assert shown(running, desired) == [("replace", "orders-2", "orders-3", "env A")]


def test_a_fixed_port_and_a_gateway_are_free_only_after_a_stop() -> None:
    port = AppPort(app_port=5432)
    running = [orders(1, ports=(port,)), workload("edge", "edge", role="gateway", gateway_ports={"http": 80})]
    desired = [
        orders(1, ports=(port,), env={"A": "1"}),
        workload("edge", "edge", role="gateway", gateway_ports={"http": 81}),
    ]
    assert shown(running, desired) == [
        ("restart", "orders-1", "orders-1", "env A"),
        ("restart", "edge", "edge", "gateway ports"),
    ]


def test_what_holds_the_port_of_a_new_instance_stops_first() -> None:
    port = AppPort(app_port=5432)
    running = [workload("old-1", ports=(port,)), workload("gone-1")]
    assert shown(running, [workload("new-1", ports=(port,)), workload("more-1")]) == [
        ("stop", "old-1", "", "not in the application"),
        ("start", "", "new-1", "new"),
        ("start", "", "more-1", "new"),
        ("stop", "gone-1", "", "not in the application"),
    ]


def test_a_reason_replaces_what_has_not_changed() -> None:
    assert shown([orders(1)], [orders(1)], reasons={"orders": "main.py changed"}) == [
        ("replace", "orders-1", "orders-2", "main.py changed")
    ]


def test_what_still_runs_keeps_its_name() -> None:
    running = [orders(3), orders(2, labels={"version": "old"})]
    named = with_names_of(running, [orders(1, env={"A": "1"}), orders(2), orders(3)])
    assert [item.name for item in named] == ["orders-1", "orders-3", "orders-2"]


@pytest.fixture
def applied(tmp_path: Path) -> AppliedApplication:
    path = tmp_path / "mesh.yaml"
    services = [{"name": name, "command": ["run"], "health": {"interval": "2s"}} for name in ("a", "b", "c")]
    spec = {"gateways": [{"name": "edge", "port": 80, "trustedProxies": 1}], "services": services}
    document = {"apiVersion": "meshwright.io/v1", "kind": "Application", "metadata": {"name": "lab"}}
    with path.open("w") as out:
        YAML(typ="safe").dump({**document, "spec": spec}, out)
    return applied_application(read_application(path), path, ports={}, only=("a", "b"), scale={"b": 2})


def names(applied: AppliedApplication) -> list[str]:
    return [item.name for item in applied.workloads(Path("/state"))]


def test_what_was_applied_is_remembered_to_the_last_setting(
    applied: AppliedApplication, tmp_path: Path
) -> None:
    applied.save(tmp_path)
    again = load_applied(tmp_path)
    assert again is not None
    assert again.workloads(tmp_path) == applied.workloads(tmp_path)
    assert load_applied(tmp_path / "elsewhere") is None


def test_a_state_directory_is_the_same_however_it_is_named(
    applied: AppliedApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = applied.workloads(tmp_path / ".mesh")
    assert applied.workloads(Path(".mesh")) == running
    assert plan_changes(running, applied.workloads(Path(".mesh"))) == ()
    assert running[-1].env["DATA_DIR"] == str(tmp_path / ".mesh" / "data")


def test_services_that_were_stopped_or_left_out_run_again_when_asked_for(applied: AppliedApplication) -> None:
    assert names(applied) == ["edge", "a-1", "b-1", "b-2"]
    stopped = applied.model_copy(update={"stopped": frozenset({"b"})})
    assert names(stopped) == ["edge", "a-1"]
    assert names(stopped.with_running(["b", "c"])) == ["edge", "a-1", "b-1", "b-2", "c-1"]


def test_a_service_without_an_instance_has_a_command_that_starts_it(applied: AppliedApplication) -> None:
    assert applied.idle == {"c": "mesh start c"}
    stopped = applied.model_copy(update={"stopped": frozenset({"b"}), "scale": {"a": 0}})
    assert stopped.idle == {"a": "mesh scale a=1", "b": "mesh start b", "c": "mesh start c"}
    assert applied.with_running(["c"]).idle == {}


async def test_ps_lists_services_that_do_not_run(
    applied: AppliedApplication, mesh: FakeMesh, run: RunMesh
) -> None:
    applied.model_copy(update={"stopped": frozenset({"b"})}).save(mesh.state)
    lines = [" ".join(line.split()) for line in (await run("ps")).out.splitlines()]
    assert lines[1].startswith("orders-1 orders ● healthy")
    assert lines[2:] == [
        f"- {name} ○ stopped - - - - - - start it with `mesh start {name}`" for name in ("b", "c")
    ]
    assert len((await run("ps", "b")).out.splitlines()) == 2
    assert json.loads((await run("ps", "b", "-o", "json")).out) == {
        "items": [], "stopped": [{"service": "b", "start": "mesh start b"}],
    }  # fmt: skip
    unknown = await run("ps", "bb")
    assert (unknown.code, "bb: no such service with instances" in unknown.err) == (2, True)
