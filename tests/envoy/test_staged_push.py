"""A revision reaches the proxies in waves, and is withdrawn by itself if it does harm."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshwright.cli.http import call_api
from meshwright.control_plane.api.calls import change_push
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.marked_routes import MARK_RULE, REJECTED_RULE, mark_of_back
from tests.envoy.strict_envoy import ERROR, write_strict_envoy

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: back}
spec:
  parentRefs: [{kind: Service, group: "", name: back}]
  rules: [%s{backendRefs: [{name: back}]}]
"""
FAULT = """
apiVersion: meshwright.io/v1
kind: FaultInjection
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], abort: {percent: 20, status: 500}}
"""
ABORTED = "500 fault filter abort"
FRONTS = ("front-1", "front-2", "front-3")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front", replicas=3), service("back")]
    envoy = write_strict_envoy(tmp_path_factory.mktemp("envoy"))
    folder = tmp_path_factory.mktemp("mesh")
    with running_mesh(folder, services, MESH_ENVOY=envoy, MESH_VERIFY="off", MESH_PUSH="staged") as running:
        for name in FRONTS:
            until(lambda name=name: mark_of_back(running, name) != "", f"{name} calls back")  # type: ignore[misc]
        running.apply(ROUTE % (MARK_RULE % ("first", "back")), "--timeout", "300")
        for name in FRONTS:
            until(lambda name=name: mark_of_back(running, name) == "first", f"{name} has it")  # type: ignore[misc]
        until(lambda: push(running)["push"] is None, "the revision is no longer on trial")
        yield running


def apply(mesh: Mesh, text: str) -> int:
    """Apply YAML without waiting for a sidecar; returns the revision."""
    done = mesh.run("apply", "-f", "-", "-o", "json", stdin=text)
    return int(json.loads(done.stdout)["revision"])


def push(mesh: Mesh) -> dict[str, Any]:
    """`mesh push status`."""
    report: dict[str, Any] = json.loads(mesh.run("push", "status", "-o", "json").stdout)
    return report


def withdrawal_of(mesh: Mesh, revision: int) -> dict[str, Any]:
    """Waits until a revision is withdrawn, and everybody has the restored one."""

    def withdrawn() -> dict[str, Any] | None:
        matching = [item for item in push(mesh)["withdrawals"] if item["revision"] == revision]
        return matching[0] if matching else None

    withdrawal: dict[str, Any] = until(withdrawn, "the revision is withdrawn")
    until(lambda: is_synced(mesh, withdrawal["restored"]), "every proxy has the restored revision")
    return withdrawal


def withdrawal_event(mesh: Mesh, revision: int) -> dict[str, Any] | None:
    """The event of a withdrawal, once it is written."""
    events = json.loads(mesh.run("events", "-n", "1000", "-o", "json").stdout)["items"]
    subject = f"revision {revision}"
    matching = [item for item in events if item["subject"] == subject and "withdrawn" in item["message"]]
    return matching[0] if matching else None


def is_synced(mesh: Mesh, revision: int) -> bool:
    proxies = mesh.status()["proxies"]
    return all(proxy["state"] == "synced" and proxy["revision"] >= revision for proxy in proxies)


@contextmanager
def calls(mesh: Mesh) -> Iterator[dict[str, Counter[str]]]:
    """Calls from each front, one after the other; counts the marks by front."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in FRONTS}
    stop = threading.Event()

    def repeat(name: str) -> None:
        while not stop.is_set():
            counts[name][mark_of_back(mesh, name)] += 1
            stop.wait(0.01)

    threads = [threading.Thread(target=repeat, args=(name,)) for name in FRONTS]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_what_an_envoy_rejects_reaches_one_proxy_and_is_withdrawn(mesh: Mesh) -> None:
    with calls(mesh) as counts:
        before = mesh.status()["revision"]
        revision = apply(mesh, ROUTE % (REJECTED_RULE + MARK_RULE % ("bad", "back")))
        withdrawal = withdrawal_of(mesh, revision)
    assert ERROR in withdrawal["reason"]
    assert len(withdrawal["admitted"]) == 1
    assert withdrawal["affected"] == len(FRONTS)
    assert (withdrawal["stable"], withdrawal["restored"]) == (before, revision + 1)
    assert {mark for count in counts.values() for mark in count} == {"first"}
    event = until(lambda: withdrawal_event(mesh, revision), "an event says why")
    assert ERROR in event["message"]
    assert event["message"].endswith(
        f"it had reached 1 of 3 proxies; revision {revision + 1} restores {before}"
    )


@pytest.mark.long
def test_a_wait_for_a_withdrawn_revision_says_why(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "route.yaml"
    file.write_text(ROUTE % (REJECTED_RULE + MARK_RULE % ("bad", "back")))
    result = mesh.run("apply", "-f", str(file), "--wait", "--timeout", "300", check=False)
    assert result.returncode == 5
    assert ERROR in result.stderr


@pytest.mark.long  # the watch needs traffic on both sides first
def test_a_fault_is_withdrawn_before_it_is_everywhere(mesh: Mesh) -> None:
    with calls(mesh) as counts:
        until(lambda: all(count["first"] > 300 for count in counts.values()), "there is traffic")
        revision = apply(mesh, FAULT)
        withdrawal = withdrawal_of(mesh, revision)
    assert "of the requests of front failed with it, " in withdrawal["reason"]
    (admitted,) = withdrawal["admitted"]
    for name in FRONTS:
        failed = counts[name][ABORTED]
        assert failed > 0 if admitted == f"front/{name}" else failed == 0, (name, counts)


def test_a_paused_push_waits_and_an_abort_restores(mesh: Mesh) -> None:
    with calls(mesh) as counts:
        until(lambda: all(count["first"] > 300 for count in counts.values()), "there is traffic to watch")
        revision = apply(mesh, ROUTE % (MARK_RULE % ("second", "back")))
        call_api(change_push("pause"), mesh.state)  # faster than the command, which a busy machine may delay
        until(lambda: push(mesh)["push"]["wave"] <= 1, "at most one wave has begun")
        assert "paused" in mesh.run("status").stdout
        mesh.run("push", "abort", "-m", "not today")
        withdrawal = withdrawal_of(mesh, revision)
    assert withdrawal["reason"].endswith(": not today")
    assert [mark_of_back(mesh, name) for name in FRONTS] == ["first"] * 3
    assert mesh.run("push", "resume", check=False).returncode != 0


def test_an_immediate_change_is_in_force_at_once(mesh: Mesh) -> None:
    revision = mesh.apply(ROUTE % (MARK_RULE % ("third", "back")), "--immediate", "--timeout", "300")
    assert push(mesh)["stable"] == revision
    assert [mark_of_back(mesh, name) for name in FRONTS] == ["third"] * 3
