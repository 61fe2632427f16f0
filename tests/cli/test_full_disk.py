"""A full disk: requests go on, nothing is leaked, and all of it heals by itself when there is space again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.steady_load import load

pytestmark = pytest.mark.long

SIZE = "24m"

FULL = 12.0
"""Seconds for which a disk is full: two leases."""


TIMEOUT = """
apiVersion: meshwright.io/v1
kind: Timeout
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], request: 10s}
"""


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of SIZE at `folder`."""
    folder.mkdir(parents=True)
    subprocess.run(
        ["/usr/bin/mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(folder)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill a disk to its last page."""
    fill = folder / "fill"
    with fill.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(4096))
    try:
        yield
    finally:
        fill.unlink()


def servers(mesh: Mesh) -> list[int]:
    """The pids of all Valkeys in the state directory, recorded or not."""
    pids = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name().startswith("valkey") and str(mesh.state) in " ".join(process.cmdline()):
                pids.append(process.pid)
    return pids


def test_full_disk_leaks_nothing_and_heals(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with small_disk(state), running_mesh(tmp_path, [service("front"), service("back")]) as mesh:
        assert mesh.get("front-1", "http://back/echo").status_code == 200
        with full(state):
            until(lambda: "No space left" in " ".join(mesh.status()["problems"]), "the status says so")
            os.kill(mesh.pid("back-1.proxy"), signal.SIGKILL)
            until(lambda: "No space left" in mesh.run("status").stdout, "and why back is not healthy")
            until(lambda: mesh.status()["store"] == "degraded", "the store has ended itself", 60)
            assert len(servers(mesh)) <= 1
        until(lambda: mesh.status()["store"] == "ok", "the store is back", 60)
        until(lambda: mesh.get("front-1", "http://back/echo").status_code == 200, "back serves again", 60)
        until(lambda: not mesh.status()["problems"], "no problem is left", 60)
        assert len(servers(mesh)) == 1


def answers(mesh: Mesh) -> bool:
    return mesh.get("front-1", "http://back/echo").status_code == 200


@pytest.mark.parametrize("name", ["store", "sidecars", "logs", "run", "ca", "tokens"])
def test_full_disk_of_one_folder_fails_no_call_and_heals(name: str, tmp_path: Path) -> None:
    """Processes that end meanwhile are started again, at the latest when there is space."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with small_disk(state / name), running_mesh(tmp_path, [service("front"), service("back")]) as mesh:
        assert answers(mesh)
        outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
        with full(state / name):
            with load(tmp_path, outbound, "Host: back") as calls:
                time.sleep(FULL)  # the fault itself
                mesh.run("apply", "-f", "-", stdin=TIMEOUT, check=False)
            for process in ("back-1", "back-1.proxy", "control-plane"):
                os.kill(mesh.pid(process), signal.SIGKILL)
            time.sleep(FULL)
        until(lambda: answers(mesh), "back serves", 90)
        until(lambda: mesh.run("status", check=False).returncode == 0, "the control plane responds", 90)
        until(lambda: mesh.status()["store"] == "ok", "the store is back", 90)
        until(lambda: not mesh.status()["problems"], "no problem is left", 90)
        mesh.apply(TIMEOUT)
    assert calls.requests > 100 and calls.failed == 0, calls.report
