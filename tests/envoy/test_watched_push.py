"""A service with one proxy: its revision is in force at once, and is withdrawn by what came before it."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from meshwright.control_plane.telemetry.topology.traffic import WINDOW
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.marked_routes import mark_of_back
from tests.envoy.steady_load import load
from tests.envoy.test_staged_push import FAULT, apply, is_synced, push

pytestmark = pytest.mark.long

WITHIN = 300.0
ATTEMPTS = 4


def ended_push(mesh: Mesh) -> dict[str, Any] | None:
    """The report of a push whose revision is no longer watched, or was withdrawn."""
    report = push(mesh)
    return report if report["newest"] == report["stable"] and not report["push"] else None


def withdrawal_of_fault(mesh: Mesh) -> dict[str, Any] | None:
    """Applies the fault; its withdrawal, or None if it stayed, and it is removed again."""
    revision = apply(mesh, FAULT)
    report = until(lambda: ended_push(mesh), "the watch has ended", WITHIN)
    withdrawal = next((item for item in report["withdrawals"] if item["revision"] == revision), None)
    if withdrawal is None:
        mesh.run("delete", "FaultInjection/back", "--immediate", "--wait", "--timeout", "300")
    return withdrawal


def test_a_fault_in_the_only_caller_is_withdrawn_while_it_is_in_force(tmp_path: Path) -> None:
    services = [service("solo"), service("back")]
    with running_mesh(tmp_path, services, MESH_PUSH="staged") as mesh:
        until(lambda: mark_of_back(mesh, "solo-1") == "-", "solo calls back")
        url = f"http://127.0.0.1:{mesh.ports('solo-1')['outbound']}/echo"
        with load(tmp_path, url, "Host: back"):
            for attempt in count(1):
                # The control plane remembers windows without a change, and the load on a busy machine may be
                # too little for a conclusion, or a window may begin late. Then a longer quiet time follows.
                quiet_from = time.monotonic()
                until(
                    lambda: time.monotonic() - quiet_from > (1 + 2 * attempt) * WINDOW,  # noqa: B023
                    "windows without a change are over",
                    WITHIN,
                )
                withdrawal = withdrawal_of_fault(mesh)
                if withdrawal is not None or attempt == ATTEMPTS:
                    break
        assert withdrawal is not None, "no fault was withdrawn"
        assert (withdrawal["admitted"], withdrawal["affected"]) == (["solo/solo-1"], 1)
        assert withdrawal["reason"].endswith(" before"), withdrawal["reason"]
        until(lambda: is_synced(mesh, withdrawal["restored"]), "solo has the restored revision")
        assert {mark_of_back(mesh, "solo-1") for _ in range(50)} == {"-"}
