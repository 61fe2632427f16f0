"""Replicas come and go: a graceful stop loses no request, a killed app is taken out and comes back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.observe import api, load

LEASE = 6.0
"""Seconds of a lease: nothing dead is called for longer."""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(
        tmp_path_factory.mktemp("replicas"), [service("front"), service("back", replicas=5)]
    ) as found:
        assert found.get("front-1", "http://back/echo").status_code == 200
        yield found


def health(mesh: Mesh) -> dict[str, str]:
    """The health of every instance that has a lease."""
    return {one["name"]: one["health"] for one in api(mesh, "/api/v1/instances").json()["instances"]}


@pytest.mark.parametrize("leaving", ["back-1", "back-2", "back-3"])
def test_a_replica_that_is_stopped_under_load_loses_no_request(
    mesh: Mesh, leaving: str, tmp_path: Path
) -> None:
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}"
    with (
        load(tmp_path, f"{outbound}/echo", "Host: back", connections=8) as quick,
        load(tmp_path, f"{outbound}/delay?ms=300", "Host: back", connections=8) as slow,
    ):
        until(lambda: mesh.counts(leaving).get("GET /delay", 0) > 5, f"{leaving} is called")
        mesh.stop_workload(leaving)
        assert leaving not in health(mesh)
        mesh.reset("back-4")
        until(lambda: mesh.counts("back-4").get("GET /delay", 0) > 5, "the others are called")
    for each in (quick, slow):
        assert each.requests > 10 and each.bad == 0, each.report


def test_a_killed_app_is_taken_out_within_its_lease_and_comes_back(mesh: Mesh) -> None:
    assert set(health(mesh)) == {"front-1", "back-4", "back-5"}
    killed = mesh.pid("back-5")
    began = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    until(lambda: health(mesh)["back-5"] != "healthy", "the dead app is taken out", within=LEASE, every=0.01)
    caller, row = mesh.caller("front-1"), 0
    while row < 30:
        row = row + 1 if caller.get("http://back/echo", timeout=10).status_code == 200 else 0
        assert row or time.monotonic() - began < LEASE, "the dead app is still called"
    until(lambda: health(mesh)["back-5"] == "healthy", "the app is started again")
    until(
        lambda: caller.get("http://back/echo", timeout=10).headers.get("x-served-by") == "back-5",
        "the new app is called",
    )
    assert mesh.pid("back-5") != killed
