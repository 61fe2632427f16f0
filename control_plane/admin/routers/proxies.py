"""Routes that look into one sidecar: its agent is asked, wherever it runs.

A name that no proxy has is answered by 404, an agent or Envoy that does not answer by 504.
"""

from __future__ import annotations

import difflib
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import Field, ValidationError

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import RawJson, RequestParams, Route
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.commands import (
    ARGUMENT_LIMIT,
    LINES_LIMIT,
    ConfigSection,
    LogLevelRequest,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.errors import CommandTimeoutError, NotFoundError

Told = TypeVar("Told", bound=ApiModel)


class ProxyParams(RequestParams):
    name: str = Field(pattern=f"^{NAME_PATTERN}$", description="The proxy, as /proxies names it.")


class StatsParams(ProxyParams):
    filter: str = Field(
        "", max_length=ARGUMENT_LIMIT, description="A regular expression (RE2) for a part of the name."
    )


class LogsParams(ProxyParams):
    lines: int = Field(100, ge=0, le=LINES_LIMIT, description="Lines of each log at most.")
    proxy: int | None = Field(None, ge=0, le=2**53, description="Go on after this offset of Envoy's log.")
    app: int | None = Field(None, ge=0, le=2**53, description="Go on after this offset of the app's log.")


class ConfigParams(ProxyParams):
    section: ConfigSection | None = Field(None, description="A part of it; all when left out.")


async def stats(mesh: AdminContext, params: StatsParams, _body: object) -> ProxyStats:
    """An Envoy's statistics, but those that were never used."""
    return await _ask(mesh, params.name, "stats", params.filter, ProxyStats)


async def logs(mesh: AdminContext, params: LogsParams, _body: object) -> ProxyLogs:
    """The end of a sidecar's logs, or what came after the offsets at which an earlier answer ended."""
    given = {"lines": params.lines, "proxy": params.proxy, "app": params.app}
    argument = urlencode({name: value for name, value in given.items() if value is not None})
    return await _ask(mesh, params.name, "logs", argument, ProxyLogs)


async def log_level(mesh: AdminContext, params: ProxyParams, _body: object) -> ProxyLogLevel:
    """An Envoy's log levels."""
    return await _ask(mesh, params.name, "log-level", "", ProxyLogLevel)


async def set_log_level(mesh: AdminContext, params: ProxyParams, body: LogLevelRequest) -> ProxyLogLevel:
    """Change an Envoy's log level, of all its loggers or of one, for a while."""
    argument = urlencode(body.model_dump(exclude_none=True))
    return await _ask(mesh, params.name, "log-level", argument, ProxyLogLevel)


async def config(mesh: AdminContext, params: ConfigParams, _body: object) -> RawJson:
    """The configuration that an Envoy runs with now, as it dumps it, without private keys."""
    text = await _text(mesh, params.name, "config", params.section or "")
    if not text.startswith("{"):
        raise _strange(params.name)
    return RawJson(text=text)


async def _ask(mesh: AdminContext, name: str, kind: str, argument: str, form: type[Told]) -> Told:
    text = await _text(mesh, name, kind, argument)
    try:
        return await mesh.run_in_thread(lambda: form.model_validate_json(text))
    except ValidationError:
        raise _strange(name) from None


async def _text(mesh: AdminContext, name: str, kind: str, argument: str) -> str:
    try:
        return await mesh.run_command(name, kind, argument)
    except NotFoundError:
        raise _missing(mesh, name) from None


def _strange(name: str) -> CommandTimeoutError:
    return CommandTimeoutError(f"{name}: its agent answers in another form: is it of this version?")


def _missing(mesh: AdminContext, name: str) -> NotFoundError | CommandTimeoutError:
    """Why nobody answers for a proxy: it is unknown, or known without its agent."""
    known = {one.name for one in mesh.proxies()}
    if name in known:
        return CommandTimeoutError(f"{name}: its agent is not connected: see whether it runs, and its log")
    near = difflib.get_close_matches(name, sorted(known), 3)
    words = f"did you mean {', '.join(near)}?" if near else "see `mesh proxies`"
    return NotFoundError(f"no such proxy: {name}: {words}")


_ERRORS = (404, 504)

ROUTES = (
    Route(
        "GET", "/proxies/{name}/stats", "proxy_stats", "An Envoy's statistics", stats, ProxyStats,
        params=StatsParams, errors=_ERRORS, read_only=True,
    ),
    Route(
        "GET", "/proxies/{name}/logs", "proxy_logs", "A sidecar's logs", logs, ProxyLogs,
        params=LogsParams, errors=_ERRORS,
    ),
    Route(
        "GET", "/proxies/{name}/log-level", "log_level", "An Envoy's log levels", log_level, ProxyLogLevel,
        params=ProxyParams, errors=_ERRORS, read_only=True,
    ),
    Route(
        "PUT", "/proxies/{name}/log-level", "set_log_level", "Change an Envoy's log level", set_log_level,
        ProxyLogLevel, params=ProxyParams, body=LogLevelRequest, errors=_ERRORS,
    ),
    Route(
        "GET", "/proxies/{name}/config", "proxy_config", "An Envoy's configuration", config, ProxyConfig,
        params=ConfigParams, errors=_ERRORS, read_only=True,
    ),
)  # fmt: skip
