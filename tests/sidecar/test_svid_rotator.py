"""The rotator by the time of day: a jump of the clock, as by a suspend, renews within one look at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meshwright.control_plane.api.models.enrolment import SignResponse
from meshwright.control_plane.api.spiffe import Identity
from meshwright.sidecar import svid_rotator
from meshwright.sidecar.config import Workload
from meshwright.sidecar.enrolment import enrol, request_timeout
from meshwright.sidecar.errors import UnavailableError
from meshwright.sidecar.outage_log import OutageLog
from meshwright.sidecar.svid import Svid
from meshwright.sidecar.svid_rotation import CHECK_INTERVAL
from meshwright.sidecar.svid_rotator import SvidRotator
from tests.sidecar.conftest import config, orders, until
from tests.sidecar.fake_control_plane import FakeControlPlane
from tests.sidecar.manual_clock import ManualClock

HOUR = 3600.0


class Rotation:
    """A rotator that renews at the fake control plane's CA, and what it installed."""

    def __init__(self, folder: Path, control_plane: FakeControlPlane, session: aiohttp.ClientSession) -> None:
        token = control_plane.token(folder, "orders")
        settings = config(folder, control_plane.addresses, orders(token))
        self.clock = ManualClock()
        self.installed: list[Svid] = []
        self.authority = control_plane.authority
        self.problems: list[str] = []
        workload: Workload = settings.workloads[0]
        outages = OutageLog("orders-1", lambda _, problem: self.problems.append(problem))
        self.rotator = SvidRotator(
            workload, settings, folder, session, outages,
            renew=self.renew, on_install=self.install, clock=self.clock.clock,
        )  # fmt: skip

    async def renew(self, csr: str) -> SignResponse:
        return self.authority.sign_csr(csr, Identity("mesh.local", "service", "orders"))

    async def install(self, svid: Svid) -> None:
        self.installed.append(svid)


@asynccontextmanager
async def rotating(folder: Path, control_plane: FakeControlPlane) -> AsyncIterator[Rotation]:
    """A rotation whose clock starts at the time at which its first SVID was issued."""
    async with aiohttp.ClientSession() as session:
        rotation = Rotation(folder, control_plane, session)
        await rotation.rotator.enrol()
        rotation.clock.now = rotation.rotator.expiry - HOUR
        running = asyncio.create_task(rotation.rotator.run())
        try:
            await until(lambda: rotation.clock.sleepers, "waits for the renewal")
            yield rotation
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("jump", [45 * 60.0, 5 * HOUR, -5 * HOUR])
async def test_jump_of_the_clock_is_noticed_at_the_next_look(
    tmp_path: Path, control_plane: FakeControlPlane, jump: float
) -> None:
    async with rotating(tmp_path, control_plane) as rotation:
        # The time of day jumps while the sleep goes on as if nothing had happened.
        wake_at = rotation.clock.now + CHECK_INTERVAL
        rotation.clock.advance(CHECK_INTERVAL - 1)
        assert len(rotation.installed) == 1
        assert rotation.clock.sleepers == 1
        rotation.clock.advance(wake_at - rotation.clock.now)
        await until(lambda: rotation.clock.sleepers, "looked, and nothing was due")
        assert len(rotation.installed) == 1
        rotation.clock.jump(jump)
        rotation.clock.advance(CHECK_INTERVAL)
        await until(lambda: len(rotation.installed) == 2, "renewed")
        assert rotation.installed[0].certificate != rotation.installed[1].certificate


async def test_full_disk_delays_the_renewal_and_does_not_end_it(
    tmp_path: Path, control_plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with rotating(tmp_path, control_plane) as rotation:
        with monkeypatch.context() as disk:
            disk.setattr("meshwright.sidecar.svid_rotator.write_private", full)
            rotation.clock.advance(HOUR / 2)
            await until(lambda: any("No space left" in text for text in rotation.problems), "reported")
        rotation.clock.advance(60.0)
        await until(lambda: len(rotation.installed) == 2, "renewed once the disk is free")
        assert rotation.problems[-1] == ""


async def test_each_attempt_to_enrol_waits_longer_for_a_busy_control_plane(
    tmp_path: Path, control_plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts: list[float] = []

    async def busy(*arguments: Any) -> SignResponse:
        timeouts.append(arguments[-1])
        if arguments[-1] < 16:
            raise UnavailableError("the control plane does not respond")
        return await enrol(*arguments)

    monkeypatch.setattr(svid_rotator, "enrol", busy)
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        rotation = Rotation(tmp_path, control_plane, session)
        await rotation.rotator.enrol()
    assert timeouts == [2, 4, 8, 16]
    assert [request_timeout(failures) for failures in (4, 5, 1000)] == [30, 30, 30]
    assert len(rotation.installed) == 1
