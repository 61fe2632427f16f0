"""The admin API as typed coroutines, for whoever has an event loop: `mesh up`, the dashboard, tests.

Raises UnreachableError when nobody answers and ApiError for every refusal (see `failures.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from pydantic import ValidationError

from control_plane.api import failures, messages, operations, requested, seen, traced
from control_plane.api.asked import (
    RAISED,
    LogPart,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from control_plane.api.discovery import Endpoint
from control_plane.api.happened import Event, EventList
from control_plane.api.operations import NO_CHANGE, Call, Change, Ref, Sourced
from control_plane.api.types import InstanceStatus, Message, ProxyDetail, RevisionInfo, Status

Reply = TypeVar("Reply", bound=Message)

STREAM_SILENCE = 40.0
"""Seconds without a byte after which a stream of events is dead: a comment comes every 15."""


class AdminClient:
    """A session with one mesh; use it as an async context manager."""

    def __init__(self, endpoint: Endpoint) -> None:
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
        return await self._send(operations.status(), Status)

    async def instances(self) -> tuple[InstanceStatus, ...]:
        """Every instance with an unexpired lease."""
        return (await self._send(operations.instances(), messages.Instances)).instances

    async def proxies(self) -> tuple[ProxyDetail, ...]:
        """Every proxy with what it told of itself."""
        return (await self._send(operations.proxies(), messages.Proxies)).proxies

    async def proxy_stats(self, name: str, filter: str = "") -> ProxyStats:
        """An Envoy's statistics; `filter`: a regular expression for a part of their names."""
        return await self._send(operations.proxy_stats(name, filter), ProxyStats)

    async def proxy_logs(
        self, name: str, lines: int = 100, after: Mapping[str, int] | None = None
    ) -> tuple[LogPart, ...]:
        """The end of a sidecar's logs, or what came after these offsets by their source."""
        return (await self._send(operations.proxy_logs(name, lines, after), ProxyLogs)).logs

    async def proxy_config(self, name: str, section: str = "") -> tuple[dict[str, Any], ...]:
        """An Envoy's configuration: all, or `listeners`, `clusters`, `routes`, `endpoints` of it."""
        return (await self._send(operations.proxy_config(name, section), ProxyConfig)).configs

    async def log_level(self, name: str) -> ProxyLogLevel:
        """An Envoy's log levels."""
        return await self._send(operations.log_level(name), ProxyLogLevel)

    async def set_log_level(
        self, name: str, level: str, logger: str = "", seconds: int = RAISED
    ) -> ProxyLogLevel:
        """Change an Envoy's log level for some seconds, of all loggers or of one."""
        return await self._send(operations.set_log_level(name, level, logger, seconds), ProxyLogLevel)

    async def policies(self, kind: str = "", name: str = "") -> messages.Documents:
        """The current documents: all, of one kind, or one."""
        return await self._send(operations.policies(kind, name), messages.Documents)

    async def apply(self, documents: Iterable[Sourced], change: Change = NO_CHANGE) -> messages.AppliedReply:
        """Create or change documents, all or none."""
        return await self._send(operations.apply(documents, change), messages.AppliedReply)

    async def delete(self, refs: Iterable[Ref], change: Change = NO_CHANGE) -> messages.AppliedReply:
        """Delete documents, all or none."""
        return await self._send(operations.delete(refs, change), messages.AppliedReply)

    async def diff(self, documents: Iterable[Sourced]) -> messages.DiffReply:
        """What an apply would change."""
        return await self._send(operations.diff(documents), messages.DiffReply)

    async def history(self, limit: int = 50, before: int | None = None) -> tuple[RevisionInfo, ...]:
        """Revisions, newest first; only those below `before` when it is given."""
        return (await self._send(operations.history(limit, before), messages.History)).revisions

    async def revision(self, number: int) -> messages.RevisionReply:
        """One revision with all its documents."""
        return await self._send(operations.revision(number), messages.RevisionReply)

    async def rollback(self, number: int, change: Change = NO_CHANGE) -> messages.AppliedReply:
        """Make the documents of a revision the newest."""
        return await self._send(operations.rollback(number, change), messages.AppliedReply)

    async def wait(self, number: int, timeout: float) -> messages.WaitReply:  # noqa: ASYNC109  sent along
        """Until every connected sidecar has taken a revision, one rejected it, or `timeout` seconds."""
        return await self._send(operations.wait(number, timeout), messages.WaitReply)

    async def token(self, role: str, name: str, ttl: float, author: str = "") -> messages.Minted:
        """A join token for a `service` or `gateway`, valid for `ttl` seconds."""
        return await self._send(operations.token(role, name, ttl, author), messages.Minted)

    async def tokens(self) -> tuple[messages.TokenInfo, ...]:
        """Every join token on record, newest first; never the tokens themselves."""
        return (await self._send(operations.tokens(), messages.TokenList)).tokens

    async def revoke_token(self, id: str) -> None:
        """Refuse a join token from now on."""
        await self._send(operations.revoke_token(id), messages.Revoked)

    async def topology(self) -> seen.Topology:
        """Who calls whom, over the last seconds."""
        return await self._send(operations.topology(), seen.Topology)

    async def edge_history(self, caller: str, callee: str) -> seen.History:
        """The last quarter of an hour of the calls from one service to another."""
        return await self._send(operations.edge_history(caller, callee), seen.History)

    async def services(self) -> seen.Services:
        """Every service and gateway with its figures of now and their course."""
        return await self._send(operations.services(), seen.Services)

    async def service_history(self, name: str) -> seen.ServiceHistory:
        """The last quarter of an hour of all calls to a service, or from a gateway."""
        return await self._send(operations.service_history(name), seen.ServiceHistory)

    async def traces(
        self,
        *,
        service: str = "",
        operation: str = "",
        min_duration: str = "",
        errors: bool = False,
        limit: int = 20,
    ) -> tuple[traced.TraceSummary, ...]:
        """Traces that have such a span, newest first; `min_duration` as `250ms`."""
        call = operations.traces(
            service=service, operation=operation, min_duration=min_duration, errors=errors, limit=limit
        )
        return (await self._send(call, traced.Traces)).traces

    async def trace(self, id: str) -> traced.Trace:
        """One trace; the ID may be a prefix that no other has."""
        return await self._send(operations.trace(id), traced.Trace)

    async def requests(
        self, *, service: str = "", errors: bool = False, since: str = "", limit: int = 50
    ) -> tuple[requested.Request, ...]:
        """What proxies told of requests, newest first; `since` as `5m`."""
        call = operations.requests(service=service, errors=errors, since=since, limit=limit)
        return (await self._send(call, requested.Requests)).requests

    async def why(self, id: str) -> requested.Why:
        """Why a request failed or was slow, by its x-request-id or trace, or how these begin."""
        return await self._send(operations.why(id), requested.Why)

    async def events(self, limit: int = 50, before: str = "", kind: str = "") -> tuple[Event, ...]:
        """What happened, newest first."""
        return (await self._send(operations.events(limit, before, kind), EventList)).events

    async def follow(self, last: str = "") -> AsyncIterator[Event | None]:
        """Events as they happen, after the one with the id `last` (empty: from now on).

        None comes first, when the stream stands, and whenever nothing happened for a while. It ends, or
        raises UnreachableError, when the control plane goes.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=operations.TIMEOUT, sock_read=STREAM_SILENCE)
        url = self._endpoint.url
        try:
            async with self._open().get(
                f"{url}{operations.PREFIX}/events", headers=headers, timeout=timeout
            ) as answer:
                if answer.status != 200:
                    failures.decode(answer.status, await answer.read())
                yield None
                async for line in answer.content:
                    name, _, value = line.partition(b": ")
                    if name == b"data":
                        yield Event.model_validate_json(value)
                    elif not name:
                        yield None
        except TimeoutError:
            raise failures.UnreachableError(url, f"silent for {STREAM_SILENCE:g} s") from None
        except aiohttp.ClientError as error:
            raise failures.UnreachableError(url, failures.reason(error)) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use AdminClient as an async context manager")
        return self._session

    async def _send(self, call: Call, reply: type[Reply]) -> Reply:
        url = self._endpoint.url
        try:
            async with self._open().request(
                call.method,
                url + call.path,
                json=call.body,
                timeout=aiohttp.ClientTimeout(total=call.timeout),
            ) as answer:
                status, body = answer.status, await answer.read()
        except TimeoutError:
            raise failures.UnreachableError(url, f"no answer in {call.timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise failures.UnreachableError(url, failures.reason(error)) from None
        if status >= 400:
            failures.decode(status, body)
        try:
            return reply.model_validate_json(body)
        except ValidationError:
            failures.decode(status, body)
            raise failures.ApiError(
                status, "unreadable", f"{url} answers in another form: is this a mesh?"
            ) from None
