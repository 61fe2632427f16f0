"""Runs commands for one proxy, at its admin interface and in the log files of its workload only.

What a command changes, a log level or the tap, is undone after a time that the command names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import structlog

from meshwright.control_plane.api.models.commands import CommandResult, LogPart, ProxyCommand, ProxyLogs
from meshwright.sidecar.clock import Clock
from meshwright.sidecar.command_args import LogsArgs, parse_config_args, parse_logs_args, parse_tap_args
from meshwright.sidecar.command_results import config_json, parse_stats
from meshwright.sidecar.envoy_admin import EnvoyAdminClient, EnvoyAdminError, EnvoyBadRequestError
from meshwright.sidecar.files import read_log
from meshwright.sidecar.log_level import LogLevelSetting
from meshwright.sidecar.tasks import SpawnTask
from meshwright.sidecar.temporary_setting import TemporarySetting

MAX_LOG_BYTES = 256 * 1024
"""Bytes of one log in a result."""

TAP_RUNTIME_KEY = "mesh.tap"
"""The runtime key, a percentage, by which Envoy logs all requests."""

LogSource = Literal["proxy", "app"]


class CommandHandler:
    """Runs commands for one proxy. `logs` are the workload's log files, `restart` restarts its app.

    `probe` sends a probe of authorization.
    """

    def __init__(
        self,
        name: str,
        admin: EnvoyAdminClient,
        logs: Mapping[LogSource, Path],
        spawn: SpawnTask,
        clock: Clock | None = None,
        *,
        restart: Callable[[str], Awaitable[str]] | None = None,
        probe: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        clock = clock or Clock()
        self._name = name
        self._admin = admin
        self._logs = logs
        self._log = structlog.get_logger(__name__).bind(workload=name)
        self._levels = LogLevelSetting(name, admin, spawn, clock)
        self._tap_lock = asyncio.Lock()
        self._tap_setting = TemporarySetting(spawn, self._stop_tap, clock)
        self._actions: Mapping[str, Callable[[str], Awaitable[str]]] = {
            "stats": self._stats,
            "logs": self._read_logs,
            "log-level": self._levels.handle,
            "config": self._config_dump,
            "tap": self._tap,
            **({"restart": restart} if restart is not None else {}),
            **({"probe": probe} if probe is not None else {}),
        }

    async def handle(self, command: ProxyCommand) -> CommandResult:
        """Run a command. Never raises: failures are part of the result."""
        self._log.info("command received", kind=command.kind, argument=command.logged)
        action = self._actions.get(command.kind)
        if action is None:
            return CommandResult.failed(command, f"the agent has no command {command.kind}", "invalid")
        if command.node != self._name:
            error = f"the command is for {command.node}, not for {self._name}"
            return CommandResult.failed(command, error, "invalid")
        try:
            return CommandResult.succeeded(command, await action(command.argument))
        except EnvoyBadRequestError as error:
            return CommandResult.failed(command, f"Envoy says: {error}", "invalid")
        except (EnvoyAdminError, OSError) as error:
            return CommandResult.failed(command, str(error))
        except ValueError as error:
            return CommandResult.failed(command, str(error), "invalid")

    async def _stats(self, argument: str) -> str:
        text = await self._admin.filtered_stats(argument)
        return parse_stats(self._name, text).model_dump_json()

    async def _read_logs(self, argument: str) -> str:
        args = parse_logs_args(argument)
        parts = [
            await asyncio.to_thread(self._log_part, source, path, args) for source, path in self._logs.items()
        ]
        return ProxyLogs(proxy=self._name, logs=tuple(parts)).model_dump_json()

    def _log_part(self, source: LogSource, path: Path, args: LogsArgs) -> LogPart:
        text, end = read_log(path, args.lines, args.after.get(source), MAX_LOG_BYTES)
        return LogPart(source=source, file=str(path), text=text, end=end)

    async def _config_dump(self, argument: str) -> str:
        section = parse_config_args(argument)
        dump, clusters = await self._admin.config_dump(), await self._admin.clusters_text()
        return await asyncio.to_thread(config_json, self._name, dump, clusters, section)

    async def _tap(self, argument: str) -> str:
        seconds = parse_tap_args(argument)
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
