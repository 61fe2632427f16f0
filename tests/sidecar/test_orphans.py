"""Orphans of a killed parent are stopped; unrelated processes are never touched."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.control_plane.envoy_binary import envoy_binary
from meshwright.sidecar import hot_restart
from meshwright.sidecar.child_process import record_path
from meshwright.sidecar.files import log_path, tail
from meshwright.sidecar.orphans import reap_orphans, remove_proxy_traces
from tests.envoy import harness
from tests.sidecar.conftest import until
from tests.sidecar.test_supervisor import IGNORES_SIGTERM, SLEEP, has_exited


@pytest.fixture
def unrelated() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def write_record(state: Path, name: str, pid: int, started: float) -> None:
    path = record_path(state, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ProcessRecord(name=name, pid=pid, started=started).model_dump_json())


def test_reap_stops_recorded_children_and_leaves_unrelated_processes_alone(
    state: Path, unrelated: subprocess.Popen[bytes]
) -> None:
    orphan = subprocess.Popen(
        [sys.executable, "-c", SLEEP], start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        write_record(state, "orphan", orphan.pid, psutil.Process(orphan.pid).create_time())
        write_record(state, "reused-pid", unrelated.pid, psutil.Process(unrelated.pid).create_time() - 60.0)
        write_record(state, "gone", 2**22 - 1, 1.0)
        record_path(state, "garbage").write_text("{")
        assert [record.name for record in reap_orphans(state)] == ["orphan"]
        assert not psutil.pid_exists(orphan.pid)
        assert unrelated.poll() is None
        assert list((state / "run").iterdir()) == []
    finally:
        orphan.kill()
        orphan.wait()


def test_reap_kills_an_orphan_that_ignores_sigterm(state: Path) -> None:
    orphan = subprocess.Popen(
        [sys.executable, "-u", "-c", IGNORES_SIGTERM], start_new_session=True, stdout=subprocess.PIPE
    )
    assert orphan.stdout is not None
    try:
        assert orphan.stdout.readline() == b"up\n"
        write_record(state, "orphan", orphan.pid, psutil.Process(orphan.pid).create_time())
        reap_orphans(state, grace=0.3)
        assert not psutil.pid_exists(orphan.pid)
    finally:
        orphan.kill()
        orphan.wait()
        orphan.stdout.close()


def recorded(state: Path) -> ProcessRecord:
    """The record of the child; without a pid before it runs."""
    return ProcessRecord.model_validate_json(record_path(state, "child").read_bytes())


async def test_child_of_a_killed_parent_is_reaped_by_its_successor(state: Path) -> None:
    code = (
        "import asyncio; from pathlib import Path; from tests.sidecar.test_supervisor import *\n"
        "async def main():\n"
        f"    await ChildProcess.start(python(SLEEP), Path({str(state)!r}))\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", code])
    try:
        await until(lambda: "up" in tail(log_path(state, "child")), "the child runs")
        await until(lambda: recorded(state).pid, "the child is recorded with its pid")
    finally:
        parent.kill()
        parent.wait()
    record = recorded(state)
    assert psutil.pid_exists(record.pid)
    assert [orphan.pid for orphan in await asyncio.to_thread(reap_orphans, state)] == [record.pid]
    await until(lambda: not psutil.pid_exists(record.pid) or has_exited(psutil.Process(record.pid)), "gone")


def test_the_shared_memory_of_an_envoy_is_removed_once_it_was_killed(state: Path) -> None:
    folder = hot_restart.sidecar_folder(state, "edge")
    folder.mkdir(parents=True)
    command = (str(envoy_binary()), *hot_restart.first_options(folder), "--config-yaml", "{}")
    envoy = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        write_record(state, "edge.proxy.previous", envoy.pid, psutil.Process(envoy.pid).create_time())
        base_id = folder / "hot-restart" / "base-id"
        harness.until(lambda: base_id.exists() and base_id.read_text().strip(), "Envoy has its base id")
        page = hot_restart.shared_memory(folder)
        remove_proxy_traces(state)
        assert page.exists() and base_id.exists(), "it still finishes its requests"
        envoy.kill()
        envoy.wait()
        remove_proxy_traces(state)
        assert not page.exists() and not base_id.parent.exists()
    finally:
        envoy.kill()
        envoy.wait()
