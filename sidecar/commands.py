"""Does what is asked of one proxy: at its admin socket and in the logs of its workload, nowhere else.

What an ask changes is put back after a time that it names, whoever forgets it: a log level, and that every
request is told of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Literal

import structlog

from meshwright.control_plane.api.models.commands import (
    CommandResult,
    LogLevelRequest,
    LogPart,
    ProxyCommand,
    ProxyLogLevel,
    ProxyLogs,
)
from meshwright.sidecar import command_args
from meshwright.sidecar.envoy_admin import EnvoyAdminClient, EnvoyAdminError, EnvoyBadRequestError
from meshwright.sidecar.files import read_log

RESTORE_RETRY_INTERVAL = 5.0
"""Seconds until it is tried again to put back what was changed, where the proxy does not answer."""

MAX_LOG_BYTES = 256 * 1024
"""Bytes of one log in an answer."""

TAP_RUNTIME_KEY = "mesh.tap"
"""The runtime key that makes Envoy tell of every request, as a percentage."""

LogSource = Literal["proxy", "app"]
SpawnTask = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class CommandHandler:
    """Answers for one proxy. `logs` are the workload's log files, `spawn` keeps a task while it lives."""

    def __init__(
        self, name: str, admin: EnvoyAdminClient, logs: Mapping[LogSource, Path], spawn: SpawnTask
    ) -> None:
        self._name = name
        self._admin = admin
        self._logs = logs
        self._log = structlog.get_logger(__name__).bind(workload=name)
        self._levels = LogLevelSetting(name, admin, spawn)
        self._tap_lock = asyncio.Lock()
        self._tap_setting = TemporarySetting(spawn, self._stop_tap)
        self._actions: Mapping[str, Callable[[str], Awaitable[str]]] = {
            "stats": self._stats,
            "logs": self._read_logs,
            "log-level": self._levels.handle,
            "config": self._config_dump,
            "tap": self._tap,
        }

    async def handle(self, ask: ProxyCommand) -> CommandResult:
        """Do it and say what came of it; never raises."""
        self._log.info("asked", kind=ask.kind, argument=ask.argument)
        work = self._actions.get(ask.kind)
        if ask.node != self._name or work is None:
            what = f"{ask.kind} is nothing that this agent knows" if work is None else f"not {ask.node}'s"
            return CommandResult.failed(ask, f"the agent does not do that: {what}", "invalid")
        try:
            return CommandResult.succeeded(ask, await work(ask.argument))
        except EnvoyBadRequestError as error:
            return CommandResult.failed(ask, f"Envoy says: {error}", "invalid")
        except (EnvoyAdminError, OSError) as error:
            return CommandResult.failed(ask, str(error))
        except ValueError as error:
            return CommandResult.failed(ask, str(error), "invalid")

    async def _stats(self, argument: str) -> str:
        text = await self._admin.filtered_stats(argument)
        return command_args.parse_stats(self._name, text).model_dump_json()

    async def _read_logs(self, argument: str) -> str:
        asked = command_args.parse_logs_args(argument)
        parts = [
            await asyncio.to_thread(self._log_part, source, path, asked)
            for source, path in self._logs.items()
        ]
        return ProxyLogs(proxy=self._name, logs=tuple(parts)).model_dump_json()

    def _log_part(self, source: LogSource, path: Path, asked: command_args.LogsArgs) -> LogPart:
        text, end = read_log(path, asked.lines, asked.after.get(source), MAX_LOG_BYTES)
        return LogPart(source=source, file=str(path), text=text, end=end)

    async def _config_dump(self, argument: str) -> str:
        section = command_args.parse_config_args(argument)
        dump = await self._admin.config_dump()
        return await asyncio.to_thread(command_args.config_json, self._name, dump, section)

    async def _tap(self, argument: str) -> str:
        seconds = command_args.parse_tap_args(argument)
        async with self._tap_lock:
            await self._admin.set_runtime(TAP_RUNTIME_KEY, "100" if seconds else "")
            if seconds:
                self._tap_setting.extend(seconds)
            else:
                self._tap_setting.clear()
        return ""

    async def _stop_tap(self) -> None:
        async with self._tap_lock:
            await self._admin.set_runtime(TAP_RUNTIME_KEY, "")


class LogLevelSetting:
    """The log levels of one Envoy, which return to what they were."""

    def __init__(self, name: str, admin: EnvoyAdminClient, spawn: SpawnTask) -> None:
        self._name = name
        self._admin = admin
        self._original: dict[str, str] = {}
        self._setting = TemporarySetting(spawn, self._restore)
        self._lock = asyncio.Lock()

    async def handle(self, argument: str) -> str:
        """Look, or change some for a while; the JSON of a ProxyLogLevel. Raises ValueError, ProxyError."""
        asked = command_args.parse_log_level_args(argument)
        async with self._lock:
            if asked is not None:
                await self._change(asked)
            now = await self._current()
        told = ProxyLogLevel(
            proxy=self._name,
            level=command_args.most_common_level(now),
            loggers=now,
            resets_in=self._setting.seconds_left,
        )
        return told.model_dump_json()

    async def _change(self, asked: LogLevelRequest) -> None:
        former = self._original or await self._current()
        if asked.logger and asked.logger not in former:
            raise ValueError(f"no such logger: {asked.logger}: `log-level -o json` lists them")
        if asked.logger:
            await self._admin.set_log_levels({asked.logger: asked.level})
        else:
            await self._admin.set_log_level(asked.level)
        self._original = former
        if command_args.changed_levels(former, await self._current()):
            self._setting.restore_after(asked.seconds)
        else:
            self._setting.clear()
            self._original = {}

    async def _restore(self) -> None:
        async with self._lock:
            different = command_args.changed_levels(self._original, await self._current())
            if different:
                await self._admin.set_log_levels(different)
            self._original = {}

    async def _current(self) -> dict[str, str]:
        try:
            return command_args.parse_log_levels(await self._admin.log_levels())
        except ValueError as error:
            raise EnvoyAdminError(f"the proxy's admin interface answers strangely: {error}") from None


class TemporarySetting:
    """Something that is put back when its time is over. A proxy that does not answer is asked again."""

    def __init__(self, spawn: SpawnTask, put_back: Callable[[], Awaitable[None]]) -> None:
        self._spawn = spawn
        self._restore = put_back
        self._restore_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it is put back; None when there is nothing to put back."""
        return None if self._task is None else max(0.0, round(self._restore_at - _loop_time(), 1))

    def restore_after(self, seconds: float) -> None:
        """Put it back that many seconds from now, whatever was said before."""
        self._restore_at = _loop_time() + seconds
        if self._task is not None:
            self._task.cancel()
        self._task = self._spawn(self._restore_when_due())

    def extend(self, seconds: float) -> None:
        """Put it back that many seconds from now, or later where that was said before."""
        if self._task is None or _loop_time() + seconds > self._restore_at:
            self.restore_after(seconds)

    def clear(self) -> None:
        """It is as it was."""
        if self._task is not None:
            self._task.cancel()
        self._task = None

    async def _restore_when_due(self) -> None:
        await asyncio.sleep(self._restore_at - _loop_time())
        while True:
            try:
                await self._restore()
                break
            except EnvoyAdminError:
                await asyncio.sleep(RESTORE_RETRY_INTERVAL)
        self._task = None


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
