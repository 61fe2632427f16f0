"""The typed client of the admin API, public as `meshwright.Client`.

Every method raises UnreachableError if no control plane responds, and ApiError for an error response (see
`errors.py`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from pydantic import ValidationError

from meshwright.control_plane.api import calls, mesh_locator
from meshwright.control_plane.api.access_client import AccessCalls, Model
from meshwright.control_plane.api.calls import (
    DEFAULT_OPTIONS,
    ApiCall,
    ChangeOptions,
    DocumentRef,
    SourcedDocument,
)
from meshwright.control_plane.api.errors import ApiError, UnreachableError, os_error_text, parse_response
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.models.commands import (
    LOG_LEVEL_DEFAULT_SECONDS,
    InstanceRestart,
    LogPart,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from meshwright.control_plane.api.models.events import Event, EventList
from meshwright.control_plane.api.models.instances import InstanceList, InstanceStatus
from meshwright.control_plane.api.models.lint import LintReport
from meshwright.control_plane.api.models.moments import PastMesh
from meshwright.control_plane.api.models.policies import (
    ApplyResponse,
    DiffResponse,
    DocumentList,
    ServicePolicies,
)
from meshwright.control_plane.api.models.proxies import EvictionResult, ProxyDetail, ProxyList, WaitResult
from meshwright.control_plane.api.models.push import PushAction, PushReport
from meshwright.control_plane.api.models.refusals import RefusalList
from meshwright.control_plane.api.models.requests import Explanation, Request, RequestList, TapEvent
from meshwright.control_plane.api.models.revisions import RevisionDetail, RevisionInfo, RevisionList
from meshwright.control_plane.api.models.rollouts import RolloutAction, RolloutList
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.tokens import NewToken, RevokedToken, TokenInfo, TokenList
from meshwright.control_plane.api.models.topology import (
    EdgeHistory,
    ForgottenService,
    ServiceHistory,
    ServiceList,
    Topology,
)
from meshwright.control_plane.api.models.traces import Trace, TraceList, TraceSummary

Document = Mapping[str, Any] | SourcedDocument
"""A policy document; a SourcedDocument also carries its location for error messages."""

STREAM_TIMEOUT = 40.0
"""Seconds without a byte after which an event stream is dead: the server sends a comment every 15."""


class Client(AccessCalls):
    """A session with one mesh, used as an async context manager."""

    def __init__(self, endpoint: ApiEndpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def connect(cls, url: str, token: str) -> Self:
        """A client for the admin API at `url`, such as `http://127.0.0.1:15080`, with a bearer token."""
        return cls(ApiEndpoint(url.rstrip("/"), token))

    @classmethod
    def locate(cls, state: Path | str | None = None) -> Self:
        """A client for the mesh that `mesh` would use: of a state directory, or of the environment.

        In the order of `mesh_locator`: `state`, a context, `MESH_API`, `MESH_STATE`, `./.mesh`. Raises
        UnreachableError if no mesh was started there, InputError for invalid settings.
        """
        return cls(mesh_locator.locate_mesh(os.environ, None if state is None else Path(state)))

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {self._endpoint.token}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    # --- policies and revisions -------------------------------------------------------------------

    async def policies(self, kind: str = "", name: str = "") -> DocumentList:
        """The current documents: all, those of one kind, or one."""
        return await self._send(calls.policies(kind, name), DocumentList)

    async def apply(
        self,
        documents: Iterable[Document],
        options: ChangeOptions = DEFAULT_OPTIONS,
        *,
        strict: bool = False,
    ) -> ApplyResponse:
        """Create or change documents, all or none.

        With `strict`, none if a document would not be Accepted, or one of its references would not resolve.
        """
        return await self._send(calls.apply(_sourced(documents), options, strict=strict), ApplyResponse)

    async def delete(
        self, refs: Iterable[DocumentRef], options: ChangeOptions = DEFAULT_OPTIONS
    ) -> ApplyResponse:
        """Delete documents, all or none."""
        return await self._send(calls.delete(refs, options), ApplyResponse)

    async def diff(self, documents: Iterable[Document]) -> DiffResponse:
        """What an apply would change, in documents and in Envoy's resources."""
        return await self._send(calls.diff(_sourced(documents)), DiffResponse)

    async def history(self, limit: int = 50, before: int | None = None) -> tuple[RevisionInfo, ...]:
        """Revisions, newest first; with `before` only older ones."""
        return (await self._send(calls.history(limit, before), RevisionList)).revisions

    async def revision(self, number: int) -> RevisionDetail:
        """One revision with all its documents."""
        return await self._send(calls.revision(number), RevisionDetail)

    async def rollback(self, number: int, options: ChangeOptions = DEFAULT_OPTIONS) -> ApplyResponse:
        """Commit the documents of a revision as a new one."""
        return await self._send(calls.rollback(number, options), ApplyResponse)

    async def wait(self, number: int, timeout: float) -> WaitResult:  # noqa: ASYNC109  sent to the server
        """Wait until every connected proxy has ACKed a revision, one rejects it, or `timeout` seconds."""
        return await self._send(calls.wait(number, timeout), WaitResult)

    # --- status and proxies -----------------------------------------------------------------------

    async def status(self) -> Status:
        """The current state of the mesh."""
        return await self._send(calls.status(), Status)

    async def instances(self) -> tuple[InstanceStatus, ...]:
        """Every instance with an unexpired lease."""
        return (await self._send(calls.instances(), InstanceList)).instances

    async def proxies(self) -> tuple[ProxyDetail, ...]:
        """Every proxy with its latest report."""
        return (await self._send(calls.proxies(), ProxyList)).proxies

    async def proxy_stats(self, name: str, filter: str = "") -> ProxyStats:
        """An Envoy's statistics; `filter`: a regular expression that part of a name matches.

        Here and below `name` is `NAME`, or `SERVICE/NAME` where several services have a proxy of that name.
        """
        return await self._send(calls.proxy_stats(name, filter), ProxyStats)

    async def proxy_logs(
        self, name: str, lines: int = 100, after: Mapping[str, int] | None = None
    ) -> tuple[LogPart, ...]:
        """The end of a sidecar's logs, or what follows the given offsets (by source)."""
        return (await self._send(calls.proxy_logs(name, lines, after), ProxyLogs)).logs

    async def proxy_config(self, name: str, section: str = "") -> tuple[dict[str, Any], ...]:
        """An Envoy's configuration: all, or only its `listeners`, `clusters`, `routes` or `endpoints`."""
        return (await self._send(calls.proxy_config(name, section), ProxyConfig)).configs

    async def log_level(self, name: str) -> ProxyLogLevel:
        """An Envoy's log levels."""
        return await self._send(calls.log_level(name), ProxyLogLevel)

    async def set_log_level(
        self, name: str, level: str, logger: str = "", seconds: int = LOG_LEVEL_DEFAULT_SECONDS
    ) -> ProxyLogLevel:
        """Change the level of one of Envoy's loggers, or of all, for some seconds."""
        return await self._send(calls.set_log_level(name, level, logger, seconds), ProxyLogLevel)

    async def begin_restart(self, name: str) -> InstanceRestart:
        """Begin to restart the app of an instance: drained, stopped, started, healthy."""
        return await self._send(calls.begin_restart(name), InstanceRestart)

    async def restart_status(self, name: str) -> InstanceRestart:
        """How far the restart of an instance is."""
        return await self._send(calls.restart_status(name), InstanceRestart)

    async def evict_proxy(self, name: str, author: str = "", message: str = "") -> EvictionResult:
        """Refuse a proxy's certificate and its renewal until it enrols again; `message` says why."""
        return await self._send(calls.evict_proxy(name, author, message), EvictionResult)

    # --- join tokens ------------------------------------------------------------------------------

    async def create_token(self, role: str, name: str, ttl: float, author: str = "") -> NewToken:
        """A join token for a `service` or `gateway`, valid for `ttl` seconds."""
        return await self._send(calls.create_token(role, name, ttl, author), NewToken)

    async def tokens(self) -> tuple[TokenInfo, ...]:
        """Every join token on record, newest first; never the tokens themselves."""
        return (await self._send(calls.tokens(), TokenList)).tokens

    async def revoke_token(self, id: str) -> None:
        """Revoke a join token."""
        await self._send(calls.revoke_token(id), RevokedToken)

    async def lint(self) -> LintReport:
        """What lint finds in the policies in force."""
        return await self._send(calls.lint(), LintReport)

    async def change_push(self, action: PushAction, author: str = "", message: str = "") -> PushReport:
        """Pause, resume or abort the push of the newest revision."""
        return await self._send(calls.change_push(action, author, message), PushReport)

    async def rollouts(self) -> RolloutList:
        """Every rollout with its step and figures."""
        return await self._send(calls.rollouts(), RolloutList)

    async def steer_rollout(
        self, name: str, action: RolloutAction, options: calls.ChangeOptions = calls.DEFAULT_OPTIONS
    ) -> ApplyResponse:
        """Promote, pause, resume, abort or restart a rollout."""
        return await self._send(calls.steer_rollout(name, action, options), ApplyResponse)

    # --- services and topology --------------------------------------------------------------------

    async def forget_service(self, name: str) -> None:
        """Remove a service that has no instances."""
        await self._send(calls.forget_service(name), ForgottenService)

    async def topology(self) -> Topology:
        """The service graph of the last seconds."""
        return await self._send(calls.topology(), Topology)

    async def moment(self, at: float) -> PastMesh:
        """The mesh as it was at a time, in epoch seconds. ApiError: nothing is recorded of it."""
        return await self._send(calls.moment(at), PastMesh)

    async def edge_history(self, caller: str, callee: str) -> EdgeHistory:
        """The last 15 minutes of one edge."""
        return await self._send(calls.edge_history(caller, callee), EdgeHistory)

    async def services(self) -> ServiceList:
        """Every service and gateway with its current traffic and its trend."""
        return await self._send(calls.services(), ServiceList)

    async def service_history(self, name: str) -> ServiceHistory:
        """The last 15 minutes of all requests to a service, or from a gateway."""
        return await self._send(calls.service_history(name), ServiceHistory)

    async def service_policies(self, name: str, caller: str = "") -> ServicePolicies:
        """Policies that target a service or gateway, or with `caller` one edge; those in force first."""
        return await self._send(calls.service_policies(name, caller), ServicePolicies)

    # --- traces, requests, events -----------------------------------------------------------------

    async def traces(
        self,
        *,
        service: str = "",
        operation: str = "",
        min_duration: str = "",
        errors: bool = False,
        limit: int = 20,
    ) -> tuple[TraceSummary, ...]:
        """Traces with a span that matches, newest first; `min_duration` such as `250ms`."""
        call = calls.traces(
            service=service, operation=operation, min_duration=min_duration, errors=errors, limit=limit
        )
        return (await self._send(call, TraceList)).traces

    async def trace(self, id: str) -> Trace:
        """One trace; a unique prefix of its ID is enough."""
        return await self._send(calls.trace(id), Trace)

    async def requests(
        self, *, service: str = "", errors: bool = False, since: str = "", limit: int = 50
    ) -> tuple[Request, ...]:
        """Requests from the proxies' logs, newest first; `since` such as `5m`."""
        call = calls.requests(service=service, errors=errors, since=since, limit=limit)
        return (await self._send(call, RequestList)).requests

    async def refusals(self) -> RefusalList:
        """What policies refused lately, by caller, service and policy."""
        return await self._send(calls.refusals(), RefusalList)

    async def explain(self, id: str) -> Explanation:
        """Why a request failed or was slow, by its x-request-id or trace ID or a prefix."""
        return await self._send(calls.explain(id), Explanation)

    async def events(self, limit: int = 50, before: str = "", kind: str = "") -> tuple[Event, ...]:
        """Events, newest first."""
        return (await self._send(calls.events(limit, before, kind), EventList)).events

    async def follow_events(self, last: str = "") -> AsyncIterator[Event | None]:
        """New events, after the one with the id `last` (empty: from now on).

        Yields None once when the stream is open, and whenever nothing has happened for a while. The stream
        ends, or raises UnreachableError, when the control plane stops.
        """
        async for event in self._stream(f"{calls.PREFIX}/events", Event, last):
            yield event

    async def tap(self, service: str, *, errors: bool = False) -> AsyncIterator[TapEvent | None]:
        """The live requests of a service or gateway; `errors`: only failed ones.

        Yields None as `follow_events` does, and ends or raises as it does. ApiError: no such service.
        """
        async for event in self._stream(calls.tap(service, errors=errors).path, TapEvent):
            yield event

    # --- transport --------------------------------------------------------------------------------

    def _require_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use Client as an async context manager")
        if self._session.closed:  # by one task, while another still has requests to send
            raise UnreachableError(self._endpoint.url, "the connection was closed")
        return self._session

    async def _stream(self, path: str, model: type[Model], last: str = "") -> AsyncIterator[Model | None]:
        """The events of a stream, after the one with the id `last`; None: it is open, or nothing is new."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=calls.TIMEOUT, sock_read=STREAM_TIMEOUT)
        url = self._endpoint.url
        try:
            async with self._require_session().get(url + path, headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    parse_response(response.status, await response.read())
                yield None
                async for line in response.content:
                    name, _, value = line.partition(b": ")
                    if name == b"data":
                        yield model.model_validate_json(value)
                    elif not name:
                        yield None
        except TimeoutError:
            raise UnreachableError(url, f"nothing received for {STREAM_TIMEOUT:g} s") from None
        except aiohttp.ClientError as error:
            raise UnreachableError(url, os_error_text(error)) from None

    async def _send(self, call: ApiCall, model: type[Model]) -> Model:
        url = self._endpoint.url
        try:
            async with self._require_session().request(
                call.method,
                url + call.path,
                json=call.body,
                timeout=aiohttp.ClientTimeout(total=call.timeout),
            ) as response:
                status, body = response.status, await response.read()
        except TimeoutError:
            raise UnreachableError(url, f"no response in {call.timeout:g} s") from None
        except aiohttp.ClientError as error:
            raise UnreachableError(url, os_error_text(error)) from None
        if status >= 400:
            parse_response(status, body)
        try:
            return model.model_validate_json(body)
        except ValidationError:
            parse_response(status, body)
            raise ApiError(
                status, "unreadable", f"{url} sent an unexpected response: is this a mesh?"
            ) from None


def _sourced(documents: Iterable[Document]) -> list[SourcedDocument]:
    return [
        document if isinstance(document, SourcedDocument) else SourcedDocument(document)
        for document in documents
    ]
