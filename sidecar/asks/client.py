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

from control_plane.api.asked import Answer, Ask, LogLevelRequest, LogPart, ProxyLogLevel, ProxyLogs
from sidecar.asks import words
from sidecar.files import log_part
from sidecar.proxy.client import ProxyAdmin, ProxyError, ProxyRefusedError

AGAIN = 5.0
"""Seconds until it is tried again to put back what was changed, where the proxy does not answer."""

LOG_LIMIT = 256 * 1024
"""Bytes of one log in an answer."""

TAP_KEY = "mesh.tap"
"""The runtime key that makes Envoy tell of every request, as a percentage."""

Source = Literal["proxy", "app"]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Respondent:
    """Answers for one proxy. `logs` are the workload's log files, `spawn` keeps a task while it lives."""

    def __init__(self, name: str, admin: ProxyAdmin, logs: Mapping[Source, Path], spawn: Spawn) -> None:
        self._name = name
        self._admin = admin
        self._logs = logs
        self._log = structlog.get_logger(__name__).bind(workload=name)
        self._levels = LogLevels(name, admin, spawn)
        self._tapping = asyncio.Lock()
        self._tapped = Borrowed(spawn, self._untap)
        self._kinds: Mapping[str, Callable[[str], Awaitable[str]]] = {
            "stats": self._stats,
            "logs": self._tail,
            "log-level": self._levels.answer,
            "config": self._config,
            "tap": self._tap,
        }

    async def answer(self, ask: Ask) -> Answer:
        """Do it and say what came of it; never raises."""
        self._log.info("asked", kind=ask.kind, argument=ask.argument)
        work = self._kinds.get(ask.kind)
        if ask.node != self._name or work is None:
            what = f"{ask.kind} is nothing that this agent knows" if work is None else f"not {ask.node}'s"
            return Answer.failed(ask, f"the agent does not do that: {what}", "invalid")
        try:
            return Answer.of(ask, await work(ask.argument))
        except ProxyRefusedError as error:
            return Answer.failed(ask, f"Envoy says: {error}", "invalid")
        except (ProxyError, OSError) as error:
            return Answer.failed(ask, str(error))
        except ValueError as error:
            return Answer.failed(ask, str(error), "invalid")

    async def _stats(self, argument: str) -> str:
        text = await self._admin.filtered_stats(argument)
        return words.stats(self._name, text).model_dump_json()

    async def _tail(self, argument: str) -> str:
        asked = words.logs_asked(argument)
        parts = [
            await asyncio.to_thread(self._part, source, path, asked) for source, path in self._logs.items()
        ]
        return ProxyLogs(proxy=self._name, logs=tuple(parts)).model_dump_json()

    def _part(self, source: Source, path: Path, asked: words.LogsAsked) -> LogPart:
        text, end = log_part(path, asked.lines, asked.after.get(source), LOG_LIMIT)
        return LogPart(source=source, file=str(path), text=text, end=end)

    async def _config(self, argument: str) -> str:
        section = words.section_asked(argument)
        dump = await self._admin.config_dump()
        return await asyncio.to_thread(words.config, self._name, dump, section)

    async def _tap(self, argument: str) -> str:
        seconds = words.seconds_asked(argument)
        async with self._tapping:
            await self._admin.set_runtime(TAP_KEY, "100" if seconds else "")
            if seconds:
                self._tapped.extend(seconds)
            else:
                self._tapped.over()
        return ""

    async def _untap(self) -> None:
        async with self._tapping:
            await self._admin.set_runtime(TAP_KEY, "")


class LogLevels:
    """The log levels of one Envoy, which return to what they were."""

    def __init__(self, name: str, admin: ProxyAdmin, spawn: Spawn) -> None:
        self._name = name
        self._admin = admin
        self._former: dict[str, str] = {}
        self._raised = Borrowed(spawn, self._put_back)
        self._one = asyncio.Lock()

    async def answer(self, argument: str) -> str:
        """Look, or change some for a while; the JSON of a ProxyLogLevel. Raises ValueError, ProxyError."""
        asked = words.level_asked(argument)
        async with self._one:
            if asked is not None:
                await self._change(asked)
            now = await self._now()
        told = ProxyLogLevel(
            proxy=self._name, level=words.most(now), loggers=now, returns_in=self._raised.left
        )
        return told.model_dump_json()

    async def _change(self, asked: LogLevelRequest) -> None:
        former = self._former or await self._now()
        if asked.logger and asked.logger not in former:
            raise ValueError(f"no such logger: {asked.logger}: `log-level -o json` lists them")
        if asked.logger:
            await self._admin.set_levels({asked.logger: asked.level})
        else:
            await self._admin.set_level(asked.level)
        self._former = former
        if words.differing(former, await self._now()):
            self._raised.until(asked.seconds)
        else:
            self._raised.over()
            self._former = {}

    async def _put_back(self) -> None:
        async with self._one:
            different = words.differing(self._former, await self._now())
            if different:
                await self._admin.set_levels(different)
            self._former = {}

    async def _now(self) -> dict[str, str]:
        try:
            return words.levels(await self._admin.logging())
        except ValueError as error:
            raise ProxyError(f"the proxy's admin interface answers strangely: {error}") from None


class Borrowed:
    """Something that is put back when its time is over. A proxy that does not answer is asked again."""

    def __init__(self, spawn: Spawn, put_back: Callable[[], Awaitable[None]]) -> None:
        self._spawn = spawn
        self._put_back = put_back
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def left(self) -> float | None:
        """Seconds until it is put back; None when there is nothing to put back."""
        return None if self._task is None else max(0.0, round(self._due - _now(), 1))

    def until(self, seconds: float) -> None:
        """Put it back that many seconds from now, whatever was said before."""
        self._due = _now() + seconds
        if self._task is not None:
            self._task.cancel()
        self._task = self._spawn(self._wait())

    def extend(self, seconds: float) -> None:
        """Put it back that many seconds from now, or later where that was said before."""
        if self._task is None or _now() + seconds > self._due:
            self.until(seconds)

    def over(self) -> None:
        """It is as it was."""
        if self._task is not None:
            self._task.cancel()
        self._task = None

    async def _wait(self) -> None:
        await asyncio.sleep(self._due - _now())
        while True:
            try:
                await self._put_back()
                break
            except ProxyError:
                await asyncio.sleep(AGAIN)
        self._task = None


def _now() -> float:
    return asyncio.get_running_loop().time()
