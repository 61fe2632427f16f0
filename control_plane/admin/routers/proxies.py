"""Routes of proxies: list them, and inspect one through its agent, wherever it runs.

An unknown name gets a 404, an agent or Envoy that does not respond a 504.
"""

from __future__ import annotations

import asyncio
import difflib
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import Field, ValidationError

from meshwright.control_plane.admin.protocols import ProxySource, RunCommand
from meshwright.control_plane.admin.route import NoBody, NoParams, RawJson, RequestParams, Route
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.commands import (
    FILTER_LIMIT,
    LINES_LIMIT,
    RESTART_BEGIN,
    ConfigSection,
    InstanceRestart,
    LogLevelRequest,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from meshwright.control_plane.api.models.proxies import ProxyList
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.errors import CommandTimeoutError, NotFoundError

Result = TypeVar("Result", bound=ApiModel)

_ERRORS = (404, 504)


class ProxyParams(RequestParams):
    name: str = Field(pattern=f"^{NAME_PATTERN}$", description="The proxy's name, as in /proxies.")
    service: str = Field(
        "",
        pattern=f"^({NAME_PATTERN})?$",
        description="Its service or gateway, if several have a proxy of that name.",
    )


class StatsParams(ProxyParams):
    filter: str = Field(
        "", max_length=FILTER_LIMIT, description="A regular expression (RE2) that part of a name matches."
    )


class LogsParams(ProxyParams):
    lines: int = Field(100, ge=0, le=LINES_LIMIT, description="Maximum lines of each log.")
    proxy: int | None = Field(None, ge=0, le=2**53, description="Continue after this offset of Envoy's log.")
    app: int | None = Field(None, ge=0, le=2**53, description="Continue after this offset of the app's log.")


class ConfigParams(ProxyParams):
    section: ConfigSection | None = Field(None, description="One section; default: all.")


class ProxiesRouter:
    """`GET /proxies` and the routes below it."""

    def __init__(self, proxies: ProxySource, run_command: RunCommand) -> None:
        self._proxies = proxies
        self._run_command = run_command

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route("GET", "/proxies", "proxies", "Proxies", self.proxies, ProxyList, read_only=True),
            Route(
                "GET", "/proxies/{name}/stats", "proxy_stats", "An Envoy's statistics", self.stats,
                ProxyStats, params=StatsParams, errors=_ERRORS, read_only=True,
            ),
            Route(
                "GET", "/proxies/{name}/logs", "proxy_logs", "A sidecar's logs", self.logs,
                ProxyLogs, params=LogsParams, errors=_ERRORS,
            ),
            Route(
                "GET", "/proxies/{name}/log-level", "log_level", "An Envoy's log levels", self.log_level,
                ProxyLogLevel, params=ProxyParams, errors=_ERRORS, read_only=True,
            ),
            Route(
                "PUT", "/proxies/{name}/log-level", "set_log_level", "Change an Envoy's log level",
                self.set_log_level, ProxyLogLevel, params=ProxyParams, body=LogLevelRequest, errors=_ERRORS,
            ),
            Route(
                "GET", "/proxies/{name}/restart", "restart_status", "How far a restart is",
                self.restart_status, InstanceRestart, params=ProxyParams, errors=_ERRORS, read_only=True,
            ),
            Route(
                "POST", "/proxies/{name}/restart", "begin_restart", "Restart an instance's app",
                self.begin_restart, InstanceRestart, params=ProxyParams, errors=(400, *_ERRORS),
            ),
            Route(
                "GET", "/proxies/{name}/config", "proxy_config", "An Envoy's configuration", self.config,
                ProxyConfig, params=ConfigParams, errors=_ERRORS, read_only=True,
            ),
        )  # fmt: skip

    async def proxies(self, _params: NoParams, _body: NoBody) -> ProxyList:
        """Every proxy: the state of its configuration, and its sidecar's report of the last few seconds."""
        return ProxyList(proxies=tuple(self._proxies()))

    async def stats(self, params: StatsParams, _body: NoBody) -> ProxyStats:
        """An Envoy's statistics, without those that were never used."""
        return await self._result(params, "stats", params.filter, ProxyStats)

    async def logs(self, params: LogsParams, _body: NoBody) -> ProxyLogs:
        """The end of a sidecar's logs, or what follows the offsets at which an earlier response ended."""
        options = {"lines": params.lines, "proxy": params.proxy, "app": params.app}
        argument = urlencode({name: value for name, value in options.items() if value is not None})
        return await self._result(params, "logs", argument, ProxyLogs)

    async def log_level(self, params: ProxyParams, _body: NoBody) -> ProxyLogLevel:
        """An Envoy's log levels."""
        return await self._result(params, "log-level", "", ProxyLogLevel)

    async def set_log_level(self, params: ProxyParams, body: LogLevelRequest) -> ProxyLogLevel:
        """Change the level of one of Envoy's loggers, or of all, for a limited time."""
        argument = urlencode(body.model_dump(exclude_none=True))
        return await self._result(params, "log-level", argument, ProxyLogLevel)

    async def begin_restart(self, params: ProxyParams, _body: NoBody) -> InstanceRestart:
        """Begin to restart the app beside a proxy: its callers stop sending to it, it finishes, and so on."""
        return await self._result(params, "restart", RESTART_BEGIN, InstanceRestart)

    async def restart_status(self, params: ProxyParams, _body: NoBody) -> InstanceRestart:
        """How far the restart of an app is."""
        return await self._result(params, "restart", "", InstanceRestart)

    async def config(self, params: ConfigParams, _body: NoBody) -> RawJson:
        """The current configuration dump of an Envoy, with private keys redacted."""
        text = await self._run(params, "config", params.section or "")
        if not text.startswith("{"):
            raise _unexpected_result(params.name)
        return RawJson(text=text)

    async def _result(self, proxy: ProxyParams, kind: str, argument: str, model: type[Result]) -> Result:
        text = await self._run(proxy, kind, argument)
        try:
            return await asyncio.to_thread(model.model_validate_json, text)
        except ValidationError:
            raise _unexpected_result(proxy.name) from None

    async def _run(self, proxy: ProxyParams, kind: str, argument: str) -> str:
        try:
            return await self._run_command(proxy.name, kind, argument, proxy.service)
        except NotFoundError:
            raise self._not_found(proxy.name, proxy.service) from None

    def _not_found(self, name: str, service: str) -> NotFoundError | CommandTimeoutError:
        """The error for a proxy without a connected agent: it is unknown, or its agent is missing."""
        names = {proxy.name for proxy in self._proxies() if service in ("", proxy.service)}
        if name in names:
            return CommandTimeoutError(
                f"{name}: its agent is not connected: check whether it is running, and its log"
            )
        similar = difflib.get_close_matches(name, sorted(names), 3)
        advice = f"did you mean {', '.join(similar)}?" if similar else "see `mesh proxies`"
        return NotFoundError(f"no such proxy: {f'{service}/' if service else ''}{name}: {advice}")


def _unexpected_result(name: str) -> CommandTimeoutError:
    return CommandTimeoutError(
        f"{name}: its agent sent an unexpected result: does it have the control plane's version?"
    )
