"""Minutes of load during which instances crash again and again: no call fails, and nothing grows."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import wait_until_synced
from tests.envoy.steady_load import load
from tests.envoy.test_outages import NAMES, ROUTE, instances

pytestmark = pytest.mark.long

SECONDS = 480.0
"""Of load. `load` allows for ten minutes at most."""

BETWEEN = 15.0
"""Seconds between two crashes."""

WARM_UP = 0.25
"""Share of the time after which caches, pools and histories have nearly their size."""

GROWTH = 1.25
"""Memory at the end, at most, relative to that after the warm-up."""

MORE_FILES = 40
"""Open files at the end, at most, beyond those after the warm-up: pools of connections come and go."""

KEPT = ("control-plane", "agent", "store", "ingress.proxy", "front-1.proxy")
"""The processes that no crash replaces."""

POLICIES = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: mesh}
spec: {targetRefs: [{kind: Mesh}], attempts: 3, on: [5xx, reset, connect-failure]}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back", replicas=2)]
    with running_mesh(tmp_path_factory.mktemp("soak"), services) as running:
        running.apply(ROUTE)
        running.apply(POLICIES)
        wait_until_synced(running, NAMES)
        yield running


def usage(mesh: Mesh) -> dict[str, tuple[int, int]]:
    """Resident memory in MiB and open files of each process that is kept."""
    processes = {name: psutil.Process(mesh.pid(name)) for name in KEPT}
    return {name: (process.memory_info().rss >> 20, process.num_fds()) for name, process in processes.items()}


def healthy(mesh: Mesh, name: str) -> bool:
    return instances(mesh).get(name) == "healthy"


@pytest.mark.timeout(1800)
def test_crashes_for_minutes_fail_no_call_and_nothing_grows(mesh: Mesh, tmp_path: Path) -> None:
    """Apps and Envoys of two replicas crash by turns, each when the other replica is healthy."""
    pids = {name: mesh.pid(name) for name in KEPT}
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
    victims = itertools.cycle(("back-1", "back-2.proxy", "back-2", "back-1.proxy"))
    with (
        load(tmp_path, f"http://127.0.0.1:{mesh.ingress_port}/echo") as outside,
        load(tmp_path, outbound, "Host: back") as inside,
    ):
        start = time.monotonic()
        warm: dict[str, tuple[int, int]] = {}
        crashes = 0
        while (now := time.monotonic() - start) < SECONDS:
            if not warm and now > SECONDS * WARM_UP:
                warm = usage(mesh)
            for name in ("back-1", "back-2"):
                until(lambda name=name: healthy(mesh, name), f"{name} is healthy", every=0.2)  # type: ignore[misc]
            os.kill(mesh.pid(next(victims)), signal.SIGKILL)
            crashes += 1
            time.sleep(BETWEEN)
        end = usage(mesh)
    for result in (inside, outside):
        assert result.requests > 1000 and result.failed == 0, result.report
    assert crashes > SECONDS / BETWEEN / 3
    assert {name: mesh.pid(name) for name in KEPT} == pids
    for name, (memory, files) in end.items():
        assert memory <= warm[name][0] * GROWTH and files <= warm[name][1] + MORE_FILES, (name, warm, end)
