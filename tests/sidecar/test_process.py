"""Children: supervised, recorded, logged, stopped as a group; and no stranger ever touched."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.sidecar import supervisor
from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.files import rotate_log, tail
from meshwright.sidecar.supervisor import (
    ChildProcess,
    NotReadyError,
    Program,
    Supervisor,
    log_path,
    reap_orphans,
    record_path,
)
from tests.sidecar.conftest import until


def python(code: str, name: str = "child", grace: float = 10.0) -> Program:
    return Program(name, (sys.executable, "-u", "-c", code), {"PATH": os.environ["PATH"]}, None, grace)


SLEEP = "import time; print('up'); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
PARENT = (
    "import subprocess, sys, time; "
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print(p.pid); time.sleep(600)"
)


@asynccontextmanager
async def supervised(state: Path, code: str, ends: list[str], base: float = 0.2) -> AsyncIterator[Supervisor]:
    one = Supervisor("child", lambda: python(code), state, ends.append, backoff=Backoff(base=base))
    one.start()
    try:
        yield one
    finally:
        await one.stop()


async def test_a_killed_child_is_started_again_and_again_ever_later(state: Path) -> None:
    ends: list[str] = []
    starts: list[float] = []
    one = Supervisor(
        "child",
        lambda: python("raise SystemExit(3)"),
        state,
        ends.append,
        on_start=lambda: starts.append(time.monotonic()),
        backoff=Backoff(base=0.2, cap=5.0),
    )
    one.start()
    await until(lambda: len(starts) >= 5, "five starts")
    await one.stop()
    pauses = [later - before for before, later in pairwise(starts)]
    # 0.2 s that double, less a quarter at most; a busy machine only adds to them.
    assert all(pause > least for pause, least in zip(pauses, (0.14, 0.29, 0.59, 1.19), strict=False))
    assert set(ends) == {"exited with code 3"}


async def test_kill_is_told_as_such_and_the_pid_changes(state: Path) -> None:
    ends: list[str] = []
    async with supervised(state, SLEEP, ends, base=0.05) as one:
        await until(lambda: one.pid, "started")
        first = one.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: one.pid not in (None, first), "started again")
        assert ends == ["killed by SIGKILL"]
        record = ProcessRecord.model_validate_json(record_path(state, "child").read_bytes())
        assert record.pid == one.pid
    assert one.pid is None
    assert not record_path(state, "child").exists()


async def test_a_program_that_is_not_there_is_named(state: Path) -> None:
    ends: list[str] = []
    program = Program("child", ("/nowhere/program",), {})
    one = Supervisor("child", lambda: program, state, ends.append)
    one.start()
    await until(lambda: ends, "told")
    await one.stop()
    assert "/nowhere/program" in ends[0]


async def test_a_program_may_ask_to_wait(state: Path) -> None:
    ends: list[str] = []

    def program() -> Program:
        if len(ends) < 2:
            raise NotReadyError("the port is in use")
        return python(SLEEP)

    one = Supervisor("child", program, state, ends.append, backoff=Backoff(base=0.01))
    one.start()
    await until(lambda: one.pid, "started")
    await one.stop()
    assert ends == ["the port is in use"] * 2


async def test_stop_kills_who_does_not_listen(state: Path) -> None:
    child = await ChildProcess.start(python(STUBBORN, grace=0.3), state)
    await until(lambda: "up" in tail(child.log), "it ignores SIGTERM")
    assert await child.stop() == -signal.SIGKILL
    assert not psutil.pid_exists(child.pid)


async def test_the_whole_group_goes_when_its_leader_does(state: Path) -> None:
    child = await ChildProcess.start(python(PARENT), state)
    await until(lambda: tail(child.log).strip(), "the grandchild's pid")
    grandchild = psutil.Process(int(tail(child.log)))
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    await until(lambda: _gone(grandchild), "the grandchild is gone")


def _gone(one: psutil.Process) -> bool:
    return not one.is_running() or one.status() == psutil.STATUS_ZOMBIE


async def test_output_is_kept_in_a_private_log_across_restarts(state: Path) -> None:
    for word in ("one", "two"):
        child = await ChildProcess.start(
            python(f"import sys; print('{word}'); print('err', file=sys.stderr)"), state
        )
        await child.wait()
    path = log_path(state, "child")
    assert path.read_text() == "one\nerr\ntwo\nerr\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_log_is_cut_while_its_writer_goes_on(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_LIMIT", 2000)
    monkeypatch.setattr(supervisor, "LOG_CHECK", 0.05)
    code = "import time\nfor n in range(10**6): print('line', n); time.sleep(0.001)"
    async with supervised(state, code, []):
        path = log_path(state, "child")
        await until(lambda: path.with_name("child.log.2").exists(), "two older logs")
        cut = path.stat().st_size
        await until(lambda: path.stat().st_size != cut, "it goes on writing")
    assert path.read_bytes()[:1] != b"\0"
    assert not path.with_name("child.log.3").exists()


def test_rotation_keeps_the_newest_end(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("x" * 50 + "end")
    assert not rotate_log(path, 53)
    assert rotate_log(path, 10)
    assert path.read_text() == ""
    assert path.with_name("a.log.1").read_text() == "x" * 7 + "end"
    assert not rotate_log(tmp_path / "none.log", 10)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield one
    one.kill()
    one.wait()


def leave(state: Path, name: str, pid: int, started: float) -> None:
    path = record_path(state, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ProcessRecord(name=name, pid=pid, started=started).model_dump_json())


def test_reap_stops_what_is_ours_and_leaves_strangers_alone(
    state: Path, stranger: subprocess.Popen[bytes]
) -> None:
    ours = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        leave(state, "ours", ours.pid, psutil.Process(ours.pid).create_time())
        leave(state, "reused-pid", stranger.pid, psutil.Process(stranger.pid).create_time() - 60.0)
        leave(state, "gone", 2**22 - 1, 1.0)
        record_path(state, "garbage").write_text("{")
        found = reap_orphans(state)
        assert [record.name for record in found] == ["ours"]
        assert not psutil.pid_exists(ours.pid)
        assert stranger.poll() is None
        assert list((state / "run").iterdir()) == []
    finally:
        ours.kill()
        ours.wait()


def test_reap_insists(state: Path) -> None:
    ours = subprocess.Popen(
        [sys.executable, "-u", "-c", STUBBORN], start_new_session=True, stdout=subprocess.PIPE
    )
    assert ours.stdout is not None
    try:
        assert ours.stdout.readline() == b"up\n"
        leave(state, "ours", ours.pid, psutil.Process(ours.pid).create_time())
        reap_orphans(state, grace=0.3)
        assert not psutil.pid_exists(ours.pid)
    finally:
        ours.kill()
        ours.wait()
        ours.stdout.close()


async def test_what_a_killed_parent_left_is_found_by_the_next(state: Path) -> None:
    code = (
        "import asyncio; from pathlib import Path; from tests.sidecar.test_process import *\n"
        "async def main():\n"
        f"    await Child.start(python(SLEEP), Path({str(state)!r}))\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", code])
    try:
        await until(lambda: "up" in tail(log_path(state, "child")), "the child runs")
        await until(record_path(state, "child").exists, "it is recorded")
    finally:
        parent.kill()
        parent.wait()
    record = ProcessRecord.model_validate_json(record_path(state, "child").read_bytes())
    assert psutil.pid_exists(record.pid)
    assert [one.pid for one in await asyncio.to_thread(reap_orphans, state)] == [record.pid]
    await until(lambda: not psutil.pid_exists(record.pid) or _gone(psutil.Process(record.pid)), "gone")


async def test_an_attached_program_has_our_own_output_and_lives_once(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ends: list[str] = []
    code = "import os; print('seen', os.getpgid(0) == os.getpid()); raise SystemExit(7)"
    one = Supervisor("child", lambda: replace(python(code), attached=True), state, ends.append)
    one.start()
    await until(lambda: ends, "its end")
    await one.stop()
    assert (ends, one.exit_code) == (["exited with code 7"], 7)
    assert capfd.readouterr().out == "seen True\n"
    assert not log_path(state, "child").exists()
    assert not record_path(state, "child").exists()


async def test_a_program_that_cannot_be_started_ends_as_shells_say(state: Path) -> None:
    ends: list[str] = []
    missing = Program("child", ("/nowhere/at/all",), {}, attached=True)
    one = Supervisor("child", lambda: missing, state, ends.append)
    one.start()
    await until(lambda: ends, "its end")
    assert one.exit_code == 127
    assert "cannot start child" in ends[0]


async def test_it_is_stopped_by_the_signal_it_is_to_be_stopped_by(state: Path) -> None:
    ends: list[str] = []
    async with supervised(state, SLEEP, ends) as one:
        await until(lambda: "up" in tail(log_path(state, "child")), "it runs")
        one.stop_signal = signal.SIGINT
        await one.stop()
        assert one.exit_code == -signal.SIGINT
    assert ends == []
