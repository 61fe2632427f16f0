"""Hot restart: options of the Envoys, what speaks against it, and what is removed afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from meshwright.sidecar import hot_restart
from meshwright.sidecar.child_process import ChildProcess, Program
from meshwright.sidecar.files import tail
from tests.sidecar.conftest import until


def test_the_first_envoy_gets_a_private_socket_and_the_next_its_base_id_and_epoch(tmp_path: Path) -> None:
    first = hot_restart.first_options(tmp_path)
    assert first[:2] == ("--socket-path", "./hot-restart/socket")
    assert (tmp_path / "hot-restart").stat().st_mode & 0o777 == 0o700
    (tmp_path / "hot-restart" / "base-id").write_text("12\n")
    assert hot_restart.next_options(tmp_path, os.getpid())[:6] == (
        *first[:2], "--base-id", "12", "--restart-epoch", "1",
    )  # fmt: skip
    hot_restart.remove_traces(tmp_path)
    assert not (tmp_path / "hot-restart").exists()
    with pytest.raises(hot_restart.HotRestartError, match="cannot be examined"):
        hot_restart.next_options(tmp_path, os.getpid())


def test_an_envoy_cannot_take_over_from_one_without_it_or_of_another_protocol(tmp_path: Path) -> None:
    assert "without hot restart" in hot_restart.obstacle(tmp_path, os.getpid(), Path("/bin/echo"))
    hot_restart.first_options(tmp_path)
    (tmp_path / "hot-restart" / "base-id").write_text("12")
    problem = hot_restart.obstacle(tmp_path, os.getpid(), Path("/bin/echo"))
    assert problem == "hot restart protocols differ: unknown and --hot-restart-version"
    other = tmp_path / "envoy"
    other.write_text("#!/bin/sh\necho 99.1 >&2\n")
    other.chmod(0o755)
    assert hot_restart.obstacle(tmp_path, os.getpid(), other).endswith("unknown and 99.1")
    hot_restart.mark_failed(tmp_path)
    assert "earlier" in hot_restart.obstacle(tmp_path, os.getpid(), Path("/bin/echo"))


async def test_a_detached_process_has_another_parent_and_is_stopped_as_a_group(tmp_path: Path) -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    program = Program(
        "child", (sys.executable, "-c", code), {"PATH": os.environ["PATH"]}, tmp_path, detached=True
    )
    child = await ChildProcess.start(program, tmp_path)
    process = psutil.Process(child.pid)
    assert process.ppid() != os.getpid()
    await until(lambda: tail(child.log, 1) != "", "it runs")
    assert (os.getsid(child.pid), os.getpgid(child.pid)) == (child.pid, child.pid)
    await child.stop()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert not (tmp_path / "run" / "child.json").exists()
