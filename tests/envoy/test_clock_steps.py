"""A host's clock is set, under load: no call fails, and SVIDs are renewed. Needs Debian's faketime."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.envoy.harness import running_mesh, service, until
from tests.envoy.mesh_api import wait_until_synced
from tests.envoy.steady_load import load

pytestmark = pytest.mark.long

NAMES = {"ingress", "front-1", "back-1", "back-2"}

AFTER = 15.0
"""Seconds of load after the step: several leases, and longer than the agent waits between two looks."""


@pytest.mark.parametrize("step", ["-8h", "-10m", "+10m"])
def test_step_of_the_clock_fails_no_call_and_renews_every_svid(step: str, tmp_path: Path) -> None:
    """All of the mesh sees it, Envoys and the store too."""
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    services = [service("front"), service("back", replicas=2)]
    with running_mesh(tmp_path, services, (), (), **faked) as mesh:
        wait_until_synced(mesh, NAMES)
        outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
        with load(tmp_path, outbound, "Host: back") as calls:
            clock.write_text(f"{step}\n")
            time.sleep(AFTER)
            wait_until_synced(mesh, NAMES)
        assert mesh.get("front-1", "http://back/echo", headers={"connection": "close"}).status_code == 200
        until(lambda: not mesh.status()["problems"], "no problem is left", 90)
        assert mesh.status()["absence"] is None, "nothing was away for the length of the step"
    assert calls.requests > 100 and calls.failed == 0, calls.report
