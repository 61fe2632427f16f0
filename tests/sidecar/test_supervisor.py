"""Supervised child processes: restarted, logged, stopped as a group."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.sidecar import supervisor
from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.child_process import ChildProcess, Program, record_path
from meshwright.sidecar.files import log_path, tail
from meshwright.sidecar.supervisor import NotReadyError, Supervisor
from tests.sidecar.conftest import until


def python(code: str, name: str = "child", grace: float = 10.0) -> Program:
    return Program(name, (sys.executable, "-u", "-c", code), {"PATH": os.environ["PATH"]}, None, grace)


SLEEP = "import time; print('up'); time.sleep(600)"
IGNORES_SIGTERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
PARENT = (
    "import subprocess, sys, time; "
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print(p.pid); time.sleep(600)"
)


@asynccontextmanager
async def supervised(
    state: Path, code: str, exits: list[str], base: float = 0.2
) -> AsyncIterator[Supervisor]:
    running = Supervisor("child", lambda: python(code), state, exits.append, backoff=Backoff(base=base))
    running.start()
    try:
        yield running
    finally:
        await running.stop()


async def test_failing_child_is_restarted_with_growing_delays(state: Path) -> None:
    exits: list[str] = []
    starts: list[float] = []
    running = Supervisor(
        "child",
        lambda: python("raise SystemExit(3)"),
        state,
        exits.append,
        on_start=lambda: starts.append(time.monotonic()),
        backoff=Backoff(base=0.2, cap=5.0),
    )
    running.start()
    await until(lambda: len(starts) >= 5, "five starts")
    await running.stop()
    delays = [later - earlier for earlier, later in pairwise(starts)]
    # 0.2 s, doubled each time, less up to a quarter of jitter. A busy machine only adds to them.
    minimums = (0.14, 0.29, 0.59, 1.19)
    assert all(delay > minimum for delay, minimum in zip(delays, minimums, strict=False))
    assert set(exits) == {"exited with code 3"}


async def test_killed_child_is_restarted_and_recorded_with_its_new_pid(state: Path) -> None:
    exits: list[str] = []
    async with supervised(state, SLEEP, exits, base=0.05) as running:
        await until(lambda: running.pid, "started")
        first = running.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: running.pid not in (None, first), "restarted")
        assert exits == ["killed by SIGKILL"]
        record = ProcessRecord.model_validate_json(record_path(state, "child").read_bytes())
        assert record.pid == running.pid
    assert running.pid is None
    assert not record_path(state, "child").exists()


async def test_missing_program_is_named(state: Path) -> None:
    exits: list[str] = []
    program = Program("child", ("/nowhere/program",), {})
    running = Supervisor("child", lambda: program, state, exits.append)
    running.start()
    await until(lambda: exits, "reported")
    await running.stop()
    assert "/nowhere/program" in exits[0]


async def test_start_is_retried_while_the_program_is_not_ready(state: Path) -> None:
    exits: list[str] = []

    def program() -> Program:
        if len(exits) < 2:
            raise NotReadyError("the port is in use")
        return python(SLEEP)

    running = Supervisor("child", program, state, exits.append, backoff=Backoff(base=0.01))
    running.start()
    await until(lambda: running.pid, "started")
    await running.stop()
    assert exits == ["the port is in use"] * 2


async def test_stop_kills_a_child_that_ignores_sigterm(state: Path) -> None:
    child = await ChildProcess.start(python(IGNORES_SIGTERM, grace=0.3), state)
    await until(lambda: "up" in tail(child.log), "ignores SIGTERM")
    assert await child.stop() == -signal.SIGKILL
    assert not psutil.pid_exists(child.pid)


async def test_rest_of_the_group_is_killed_with_its_leader(state: Path) -> None:
    child = await ChildProcess.start(python(PARENT), state)
    await until(lambda: tail(child.log).strip(), "the grandchild's pid")
    grandchild = psutil.Process(int(tail(child.log)))
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    await until(lambda: has_exited(grandchild), "the grandchild is gone")


def has_exited(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def test_output_of_all_runs_is_in_a_private_log(state: Path) -> None:
    for word in ("one", "two"):
        child = await ChildProcess.start(
            python(f"import sys; print('{word}'); print('err', file=sys.stderr)"), state
        )
        await child.wait()
    path = log_path(state, "child")
    assert path.read_text() == "one\nerr\ntwo\nerr\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_log_is_rotated_while_the_child_writes(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "MAX_LOG_BYTES", 2000)
    monkeypatch.setattr(supervisor, "LOG_CHECK_INTERVAL", 0.05)
    code = "import time\nfor n in range(10**6): print('line', n); time.sleep(0.001)"
    async with supervised(state, code, []):
        path = log_path(state, "child")
        await until(lambda: path.with_name("child.log.2").exists(), "two older logs")
        size = path.stat().st_size
        await until(lambda: path.stat().st_size != size, "the child goes on writing")
    assert path.read_bytes()[:1] != b"\0"
    assert not path.with_name("child.log.3").exists()


async def test_attached_program_inherits_output_and_runs_once(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exits: list[str] = []
    code = "import os; print('seen', os.getpgid(0) == os.getpid()); raise SystemExit(7)"
    running = Supervisor("child", lambda: replace(python(code), attached=True), state, exits.append)
    running.start()
    await until(lambda: exits, "exited")
    await running.stop()
    assert (exits, running.exit_code) == (["exited with code 7"], 7)
    assert capfd.readouterr().out == "seen True\n"
    assert not log_path(state, "child").exists()
    assert not record_path(state, "child").exists()


async def test_program_that_cannot_start_has_the_exit_code_of_shells(state: Path) -> None:
    exits: list[str] = []
    missing = Program("child", ("/nowhere/at/all",), {}, attached=True)
    running = Supervisor("child", lambda: missing, state, exits.append)
    running.start()
    await until(lambda: exits, "exited")
    assert running.exit_code == 127
    assert "cannot start child" in exits[0]


async def test_stop_sends_the_configured_signal(state: Path) -> None:
    exits: list[str] = []
    async with supervised(state, SLEEP, exits) as running:
        await until(lambda: "up" in tail(log_path(state, "child")), "running")
        running.stop_signal = signal.SIGINT
        await running.stop()
        assert running.exit_code == -signal.SIGINT
    assert exits == []


async def test_a_successor_takes_over_while_the_child_before_ends_by_itself(state: Path) -> None:
    exits: list[str] = []
    async with supervised(state, SLEEP, exits) as running:
        await until(lambda: running.pid is not None, "it runs")
        before, answers = running.pid, iter([False, True])

        async def ready() -> bool:
            return next(answers)

        assert await running.hand_over(python(SLEEP), ready, 60.0) == ""
        assert (running.pid != before, running.starts, exits) == (True, 2, [])
        records = {path.stem: recorded_pid(path) for path in (state / "run").glob("*.json")}
        assert records == {"child": running.pid, "child.previous": before}
        assert before is not None
        os.kill(before, signal.SIGTERM)
        await until(lambda: not record_path(state, "child.previous").exists(), "it ended")
        assert (exits, recorded_pid(record_path(state, "child"))) == ([], running.pid)
        os.kill(running.pid or 0, signal.SIGTERM)
        await until(lambda: bool(exits), "its end was noticed")
        assert exits == ["killed by SIGTERM"]


@pytest.mark.parametrize(
    ("code", "limit", "reason"),
    [("raise SystemExit(7)", 60.0, "exited with code 7"), (SLEEP, 0.0, "not ready within")],
)
async def test_a_successor_that_fails_is_killed_and_the_child_goes_on(
    state: Path, code: str, limit: float, reason: str
) -> None:
    async with supervised(state, SLEEP, []) as running:
        await until(lambda: running.pid is not None, "it runs")
        before = running.pid

        async def ready() -> bool:
            return False

        assert reason in await running.hand_over(python(code), ready, limit)
        assert (running.pid, running.starts) == (before, 1)
        assert [path.stem for path in (state / "run").glob("*.json")] == ["child"]


def recorded_pid(path: Path) -> int:
    return ProcessRecord.model_validate_json(path.read_text()).pid
