"""A full disk: requests go on, nothing is leaked, and all of it heals by itself when there is space again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until

pytestmark = pytest.mark.long

SIZE = "24m"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of SIZE at `folder`."""
    folder.mkdir()
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
