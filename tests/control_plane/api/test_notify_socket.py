"""What systemd hears of a service, on a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwright.control_plane.api.notify_socket import NotifySocket


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The socket of a manager, and its name in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@meshwright-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0") if request.param == "abstract" else name)
        manager.settimeout(30)
        yield name, manager


def test_state_is_sent_line_by_line(listening: tuple[str, socket.socket]) -> None:
    name, manager = listening
    service = NotifySocket({"NOTIFY_SOCKET": name})
    service.ready()
    service.status("enrolling: refused\nREADY=1")
    service.stopping()
    assert [manager.recv(200) for _ in range(3)] == [b"READY=1", b"STATUS=enrolling: refused", b"STOPPING=1"]


async def test_event_loop_that_turns_is_reported_several_times_in_each_period(
    listening: tuple[str, socket.socket],
) -> None:
    name, manager = listening
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000", "WATCHDOG_PID": str(os.getpid())}
    task = asyncio.create_task(NotifySocket(environment).feed_watchdog())
    reports = [await asyncio.to_thread(manager.recv, 200) for _ in range(4)]
    task.cancel()
    assert reports == [b"WATCHDOG=1"] * 4


@pytest.mark.parametrize(
    "watchdog",
    [{}, {"WATCHDOG_USEC": "60000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}],
    ids=["none", "of another process", "not a number"],
)
async def test_without_a_watchdog_of_this_process_nothing_is_reported(
    listening: tuple[str, socket.socket], watchdog: dict[str, str]
) -> None:
    name, manager = listening
    service = NotifySocket({"NOTIFY_SOCKET": name, **watchdog})
    await service.feed_watchdog()
    service.ready()
    assert manager.recv(200) == b"READY=1"


async def test_outside_systemd_and_where_nobody_listens_nothing_happens(tmp_path: Path) -> None:
    for environment in ({"WATCHDOG_USEC": "60000"}, {"NOTIFY_SOCKET": str(tmp_path / "nowhere")}):
        service = NotifySocket(environment)
        service.ready()
        await service.feed_watchdog()
