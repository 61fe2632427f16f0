"""Temporary settings: restored when due, extended, and retried while the proxy does not respond."""

from __future__ import annotations

import asyncio
from functools import partial

from meshwright.sidecar.envoy_admin import EnvoyAdminError
from meshwright.sidecar.temporary_setting import RESTORE_RETRY_INTERVAL, TemporarySetting
from tests.sidecar.conftest import until
from tests.sidecar.manual_clock import ManualClock


class Restores:
    """Counts calls of `restore`; the first `failures` of them fail."""

    def __init__(self, failures: int = 0) -> None:
        self.count = 0
        self._failures = failures

    def more_than(self, count: int) -> bool:
        return self.count > count

    async def restore(self) -> None:
        self.count += 1
        if self.count <= self._failures:
            raise EnvoyAdminError("no response")


async def test_setting_is_restored_when_its_time_is_up() -> None:
    time, restores = ManualClock(), Restores()
    setting = TemporarySetting(asyncio.create_task, restores.restore, time.clock)
    setting.restore_after(10)
    await until(lambda: time.sleepers == 1, "waiting")
    time.advance(9.5)
    assert (setting.seconds_left, restores.count) == (0.5, 0)
    time.advance(0.5)
    await until(lambda: setting.seconds_left is None, "restored")
    assert restores.count == 1


async def test_extend_keeps_the_later_deadline() -> None:
    time, restores = ManualClock(), Restores()
    setting = TemporarySetting(asyncio.create_task, restores.restore, time.clock)
    setting.extend(600)
    setting.extend(1)
    assert setting.seconds_left == 600
    setting.extend(900)
    assert setting.seconds_left == 900
    setting.clear()
    assert setting.seconds_left is None
    assert restores.count == 0


async def test_restore_is_retried_while_the_proxy_does_not_respond() -> None:
    time, restores = ManualClock(), Restores(failures=2)
    setting = TemporarySetting(asyncio.create_task, restores.restore, time.clock)
    setting.restore_after(1)
    for seconds in (1, RESTORE_RETRY_INTERVAL):
        attempts = restores.count
        await until(lambda: time.sleepers == 1, "waiting")
        time.advance(seconds)
        await until(partial(restores.more_than, attempts), "tried")
        assert setting.seconds_left == 0
    await until(lambda: time.sleepers == 1, "waiting")
    time.advance(RESTORE_RETRY_INTERVAL)
    await until(lambda: setting.seconds_left is None, "restored")
    assert restores.count == 3
