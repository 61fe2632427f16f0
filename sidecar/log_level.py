"""Envoy's log levels: changed on command, restored after a time."""

from __future__ import annotations

import asyncio

from meshwright.control_plane.api.models.commands import LogLevelRequest, ProxyLogLevel
from meshwright.sidecar.clock import Clock
from meshwright.sidecar.command_args import parse_log_level_args
from meshwright.sidecar.command_results import changed_levels, most_common_level, parse_log_levels
from meshwright.sidecar.envoy_admin import EnvoyAdminClient, EnvoyAdminError
from meshwright.sidecar.tasks import SpawnTask
from meshwright.sidecar.temporary_setting import TemporarySetting


class LogLevelSetting:
    """The log levels of one Envoy."""

    def __init__(self, name: str, admin: EnvoyAdminClient, spawn: SpawnTask, clock: Clock) -> None:
        self._name = name
        self._admin = admin
        self._original: dict[str, str] = {}
        self._setting = TemporarySetting(spawn, self._restore, clock)
        self._lock = asyncio.Lock()

    async def handle(self, argument: str) -> str:
        """Return the levels as JSON (ProxyLogLevel), after changing some if the argument says so.

        Raises ValueError, EnvoyAdminError.
        """
        request = parse_log_level_args(argument)
        async with self._lock:
            if request is not None:
                await self._change(request)
            levels = await self._current()
        result = ProxyLogLevel(
            proxy=self._name,
            level=most_common_level(levels),
            loggers=levels,
            resets_in=self._setting.seconds_left,
        )
        return result.model_dump_json()

    async def _change(self, request: LogLevelRequest) -> None:
        original = self._original or await self._current()
        if request.logger and request.logger not in original:
            raise ValueError(f"no such logger: {request.logger}: `log-level -o json` lists them")
        if request.logger:
            await self._admin.set_log_levels({request.logger: request.level})
        else:
            await self._admin.set_log_level(request.level)
        self._original = original
        if changed_levels(original, await self._current()):
            self._setting.restore_after(request.seconds)
        else:
            self._setting.clear()
            self._original = {}

    async def _restore(self) -> None:
        async with self._lock:
            levels = changed_levels(self._original, await self._current())
            if levels:
                await self._admin.set_log_levels(levels)
            self._original = {}

    async def _current(self) -> dict[str, str]:
        try:
            return parse_log_levels(await self._admin.log_levels())
        except ValueError as error:
            raise EnvoyAdminError(f"unexpected response of Envoy's admin interface: {error}") from None
