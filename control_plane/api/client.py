"""The admin API as typed coroutines, for whoever has an event loop: `mesh up`, the dashboard, tests.

Raises UnreachableError when nobody answers and ApiError for every refusal (see `failures.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from pydantic import ValidationError

from meshwright.control_plane.api import calls
from meshwright.control_plane.api import errors as errors_module
from meshwright.control_plane.api.calls import (
    DEFAULT_OPTIONS,
    ApiCall,
    ChangeOptions,
    DocumentRef,
    SourcedDocument,
)
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.models import policies as policies_module
from meshwright.control_plane.api.models import requests as requests_module
from meshwright.control_plane.api.models import topology as topology_module
from meshwright.control_plane.api.models import traces as traces_module
from meshwright.control_plane.api.models.base import (
    ApiModel,
    InstanceStatus,
    ProxyDetail,
    RevisionInfo,
    Status,
)
from meshwright.control_plane.api.models.commands import (
    LOG_LEVEL_DEFAULT_SECONDS,
    LogPart,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from meshwright.control_plane.api.models.events import Event, EventList

Model = TypeVar("Model", bound=ApiModel)

STREAM_SILENCE = 40.0
"""Seconds without a byte after which a stream of events is dead: a comment comes every 15."""


class Client:
    """A session with one mesh; use it as an async context manager."""

    def __init__(self, endpoint: ApiEndpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._endpoint.token}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def status(self) -> Status:
        """The mesh as it stands."""
        return await self._send(calls.status(), Status)

    async def instances(self) -> tuple[InstanceStatus, ...]:
        """Every instance with an unexpired lease."""
        return (await self._send(calls.instances(), policies_module.InstanceList)).instances

    async def proxies(self) -> tuple[ProxyDetail, ...]:
        """Every proxy with what it told of itself."""
        return (await self._send(calls.proxies(), policies_module.ProxyList)).proxies

    async def proxy_stats(self, name: str, filter: str = "") -> ProxyStats:
        """An Envoy's statistics; `filter`: a regular expression for a part of their names."""
        return await self._send(calls.proxy_stats(name, filter), ProxyStats)

    async def proxy_logs(
        self, name: str, lines: int = 100, after: Mapping[str, int] | None = None
    ) -> tuple[LogPart, ...]:
        """The end of a sidecar's logs, or what came after these offsets by their source."""
        return (await self._send(calls.proxy_logs(name, lines, after), ProxyLogs)).logs

    async def proxy_config(self, name: str, section: str = "") -> tuple[dict[str, Any], ...]:
        """An Envoy's configuration: all, or `listeners`, `clusters`, `routes`, `endpoints` of it."""
        return (await self._send(calls.proxy_config(name, section), ProxyConfig)).configs

    async def log_level(self, name: str) -> ProxyLogLevel:
        """An Envoy's log levels."""
        return await self._send(calls.log_level(name), ProxyLogLevel)

    async def set_log_level(
        self, name: str, level: str, logger: str = "", seconds: int = LOG_LEVEL_DEFAULT_SECONDS
    ) -> ProxyLogLevel:
        """Change an Envoy's log level for some seconds, of all loggers or of one."""
        return await self._send(calls.set_log_level(name, level, logger, seconds), ProxyLogLevel)

    async def policies(self, kind: str = "", name: str = "") -> policies_module.DocumentList:
        """The current documents: all, of one kind, or one."""
        return await self._send(calls.policies(kind, name), policies_module.DocumentList)

    async def apply(
        self, documents: Iterable[SourcedDocument], options: ChangeOptions = DEFAULT_OPTIONS
    ) -> policies_module.ApplyResponse:
        """Create or change documents, all or none."""
        return await self._send(calls.apply(documents, options), policies_module.ApplyResponse)

    async def delete(
        self, refs: Iterable[DocumentRef], options: ChangeOptions = DEFAULT_OPTIONS
    ) -> policies_module.ApplyResponse:
        """Delete documents, all or none."""
        return await self._send(calls.delete(refs, options), policies_module.ApplyResponse)

    async def diff(self, documents: Iterable[SourcedDocument]) -> policies_module.DiffResponse:
        """What an apply would change."""
        return await self._send(calls.diff(documents), policies_module.DiffResponse)

    async def history(self, limit: int = 50, before: int | None = None) -> tuple[RevisionInfo, ...]:
        """Revisions, newest first; only those below `before` when it is given."""
        return (await self._send(calls.history(limit, before), policies_module.RevisionList)).revisions

    async def revision(self, number: int) -> policies_module.RevisionDetail:
        """One revision with all its documents."""
        return await self._send(calls.revision(number), policies_module.RevisionDetail)

    async def rollback(
        self, number: int, options: ChangeOptions = DEFAULT_OPTIONS
    ) -> policies_module.ApplyResponse:
        """Make the documents of a revision the newest."""
        return await self._send(calls.rollback(number, options), policies_module.ApplyResponse)

    async def wait(self, number: int, timeout: float) -> policies_module.WaitResult:  # noqa: ASYNC109  sent along
        """Until every connected sidecar has taken a revision, one rejected it, or `timeout` seconds."""
        return await self._send(calls.wait(number, timeout), policies_module.WaitResult)

    async def create_token(
        self, role: str, name: str, ttl: float, author: str = ""
    ) -> policies_module.NewToken:
        """A join token for a `service` or `gateway`, valid for `ttl` seconds."""
        return await self._send(calls.create_token(role, name, ttl, author), policies_module.NewToken)

    async def tokens(self) -> tuple[policies_module.TokenInfo, ...]:
        """Every join token on record, newest first; never the tokens themselves."""
        return (await self._send(calls.tokens(), policies_module.TokenList)).tokens

    async def revoke_token(self, id: str) -> None:
        """Refuse a join token from now on."""
        await self._send(calls.revoke_token(id), policies_module.RevokedToken)

    async def topology(self) -> topology_module.Topology:
        """Who calls whom, over the last seconds."""
        return await self._send(calls.topology(), topology_module.Topology)

    async def edge_history(self, caller: str, callee: str) -> topology_module.EdgeHistory:
        """The last quarter of an hour of the calls from one service to another."""
        return await self._send(calls.edge_history(caller, callee), topology_module.EdgeHistory)

    async def services(self) -> topology_module.ServiceList:
        """Every service and gateway with its figures of now and their course."""
        return await self._send(calls.services(), topology_module.ServiceList)

    async def service_history(self, name: str) -> topology_module.ServiceHistory:
        """The last quarter of an hour of all calls to a service, or from a gateway."""
        return await self._send(calls.service_history(name), topology_module.ServiceHistory)

    async def traces(
        self,
        *,
        service: str = "",
        operation: str = "",
        min_duration: str = "",
        errors: bool = False,
        limit: int = 20,
    ) -> tuple[traces_module.TraceSummary, ...]:
        """Traces that have such a span, newest first; `min_duration` as `250ms`."""
        call = calls.traces(
            service=service, operation=operation, min_duration=min_duration, errors=errors, limit=limit
        )
        return (await self._send(call, traces_module.TraceList)).traces

    async def trace(self, id: str) -> traces_module.Trace:
        """One trace; the ID may be a prefix that no other has."""
        return await self._send(calls.trace(id), traces_module.Trace)

    async def requests(
        self, *, service: str = "", errors: bool = False, since: str = "", limit: int = 50
    ) -> tuple[requests_module.Request, ...]:
        """What proxies told of requests, newest first; `since` as `5m`."""
        call = calls.requests(service=service, errors=errors, since=since, limit=limit)
        return (await self._send(call, requests_module.RequestList)).requests

    async def explain(self, id: str) -> requests_module.Explanation:
        """Why a request failed or was slow, by its x-request-id or trace, or how these begin."""
        return await self._send(calls.explain(id), requests_module.Explanation)

    async def events(self, limit: int = 50, before: str = "", kind: str = "") -> tuple[Event, ...]:
        """What happened, newest first."""
        return (await self._send(calls.events(limit, before, kind), EventList)).events

    async def follow_events(self, last: str = "") -> AsyncIterator[Event | None]:
        """Events as they happen, after the one with the id `last` (empty: from now on).

        None comes first, when the stream stands, and whenever nothing happened for a while. It ends, or
        raises UnreachableError, when the control plane goes.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=calls.TIMEOUT, sock_read=STREAM_SILENCE)
        url = self._endpoint.url
        try:
            async with self._require_session().get(
                f"{url}{calls.PREFIX}/events", headers=headers, timeout=timeout
            ) as answer:
                if answer.status != 200:
                    errors_module.parse_response(answer.status, await answer.read())
                yield None
                async for line in answer.content:
                    name, _, value = line.partition(b": ")
                    if name == b"data":
                        yield Event.model_validate_json(value)
                    elif not name:
                        yield None
        except TimeoutError:
            raise errors_module.UnreachableError(url, f"silent for {STREAM_SILENCE:g} s") from None
        except aiohttp.ClientError as error:
            raise errors_module.UnreachableError(url, errors_module.os_error_text(error)) from None

    def _require_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use AdminClient as an async context manager")
        return self._session

    async def _send(self, call: ApiCall, reply: type[Model]) -> Model:
        url = self._endpoint.url
        try:
            async with self._require_session().request(
                call.method,
                url + call.path,
                json=call.body,
                timeout=aiohttp.ClientTimeout(total=call.timeout),
            ) as answer:
                status, body = answer.status, await answer.read()
        except TimeoutError:
            raise errors_module.UnreachableError(url, f"no answer in {call.timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise errors_module.UnreachableError(url, errors_module.os_error_text(error)) from None
        if status >= 400:
            errors_module.parse_response(status, body)
        try:
            return reply.model_validate_json(body)
        except ValidationError:
            errors_module.parse_response(status, body)
            raise errors_module.ApiError(
                status, "unreadable", f"{url} answers in another form: is this a mesh?"
            ) from None
