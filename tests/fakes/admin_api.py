"""An admin API that tells a scenario, on a free port: what the dashboard's tests look at.

```
async with fake_admin("exchange") as api:
    api.mesh = replace(api.mesh, ...)       # from now on it tells this
    await api.happen(Event(...))              # to all who listen
    await api.stop(); await api.start()       # away, and back on the same port
    api.asked                                 # every path that was asked for, `api.changes` what was posted
```
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from meshwright.control_plane.api.calls import PREFIX
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.models.authorization import AccessQuery
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.commands import LogPart, ProxyConfig, ProxyLogs
from meshwright.control_plane.api.models.errors import ErrorInfo, ErrorResponse
from meshwright.control_plane.api.models.events import Event, EventList
from meshwright.control_plane.api.models.instances import InstanceList
from meshwright.control_plane.api.models.moments import Moment, PastMesh, RecordedRange
from meshwright.control_plane.api.models.policies import (
    ApplyResponse,
    DiffResponse,
    DocumentList,
    ServicePolicies,
)
from meshwright.control_plane.api.models.proxies import ProxyList
from meshwright.control_plane.api.models.refusals import RefusalList
from meshwright.control_plane.api.models.requests import RequestList, TapEvent
from meshwright.control_plane.api.models.revisions import (
    DocumentChange,
    RevisionDetail,
    RevisionInfo,
    RevisionList,
)
from meshwright.control_plane.api.models.rollouts import RolloutList
from meshwright.control_plane.api.models.topology import EdgeHistory, HistoryPoint, ServiceHistory
from meshwright.control_plane.api.models.traces import TraceList, TraceSummary
from tests.fakes.call_explanation import explained_call
from tests.fakes.fixture_parts import config_dump, service_policies
from tests.fakes.mesh_fixture import NOW, STEP, STEPS, MeshFixture
from tests.fakes.ports import free_port
from tests.fakes.scenarios import SCENARIOS

TOKEN = "t" * 43


RECORDED: Mapping[str, Callable[[MeshFixture], ApiModel]] = {
    "refusals": lambda mesh: RefusalList(refusals=mesh.refusals),
    "requests": lambda mesh: RequestList(requests=mesh.logged),
    "rollouts": lambda mesh: RolloutList(rollouts=mesh.rollouts),
}
"""Lists that a scenario has as they are."""


@dataclass
class FakeAdminApi:
    """Serves `mesh`, which a test may replace at any moment.

    `requests` are the paths requested, `posted` the (path, body) of POST requests. `logs` is what the app of
    each proxy has written, `moments` what is recorded of the past, the oldest first.
    """

    mesh: MeshFixture
    port: int = 0
    requests: list[str] = field(default_factory=list)
    posted: list[tuple[str, Any]] = field(default_factory=list)
    delay: float = 0.0
    moments: tuple[Moment, ...] = ()
    logs: dict[str, str] = field(default_factory=dict)
    tap_queues: list[asyncio.Queue[TapEvent | None]] = field(default_factory=list)
    event_queues: list[asyncio.Queue[Event | None]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> ApiEndpoint:
        """Its URL and token."""
        return ApiEndpoint(f"http://127.0.0.1:{self.port}", TOKEN)

    async def start(self) -> None:
        """Listen, on the same port after a `stop`."""
        app = web.Application(middlewares=[self._check_request])
        app.router.add_get(f"{PREFIX}/events", self._events)
        app.router.add_get(f"{PREFIX}/tap/{{service}}", self._tap)
        app.router.add_post(f"{PREFIX}/{{rest:.*}}", self._post)
        app.router.add_get(f"{PREFIX}/{{rest:.*}}", self._get)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        self.port = self.port or free_port()  # stays free while the server is stopped
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()

    async def stop(self) -> None:
        """Refuse new connections and close the open ones."""
        for queue in self.event_queues:
            queue.put_nowait(None)
        for tap in self.tap_queues:
            tap.put_nowait(None)
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def emit(self, event: Event) -> None:
        """Add an event and send it to all subscribers."""
        self.mesh = replace(self.mesh, events=(event, *self.mesh.events))
        for queue in self.event_queues:
            queue.put_nowait(event)

    # --- responses ----------------------------------------------------------------------------------

    @web.middleware
    async def _check_request(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, "unauthorized", "no valid bearer token")
        if self.delay:
            await asyncio.sleep(self.delay)
        response: web.StreamResponse = await handler(request)
        return response

    async def _get(self, request: web.Request) -> web.StreamResponse:
        parts = request.match_info["rest"].split("/")
        message = self._list(parts, request) or self._detail(parts, request) or self._logs(parts, request)
        return _error(404, "not-found", "not found") if message is None else _response(message)

    def _list(self, parts: list[str], request: web.Request) -> ApiModel | None:
        mesh = self.mesh
        match parts:
            case ["status"]:
                return mesh.status
            case ["topology"]:
                return mesh.topology
            case ["services"]:
                return mesh.services
            case ["proxies"]:
                return ProxyList(proxies=mesh.proxies)
            case ["instances"]:
                return InstanceList(instances=mesh.instances)
            case ["policies", *kind_and_name]:
                return self._documents(kind_and_name)
            case ["revisions"]:
                return RevisionList(revisions=mesh.revisions)
            case ["traces"]:
                return self._traces(request)
            case ["services", name, "policies"]:
                return self._service_policies(name, request.query.get("from", ""))
        return None

    def _detail(self, parts: list[str], request: web.Request) -> ApiModel | None:
        mesh = self.mesh
        match parts:
            case ["moments"]:
                return self._past(float(request.query["at"]))
            case [name] if name in RECORDED:
                return RECORDED[name](mesh)
            case ["revisions", number]:
                info = next((info for info in mesh.revisions if info.revision == int(number)), None)
                return info and RevisionDetail(info=info, documents=self._documents_at(info.revision))
            case ["proxies", name, "config"]:
                exists = name in {proxy.name for proxy in mesh.proxies}
                return ProxyConfig(proxy=name, configs=config_dump(mesh)) if exists else None
            case ["traces", id]:
                return next((trace for trace in mesh.traces if trace.id.startswith(id)), None)
            case ["why", id]:
                return next((why for trace, why in mesh.explanations.items() if trace.startswith(id)), None)
            case ["services", name, "history"]:
                row = next((row for row in mesh.services.services if row.name == name), None)
                return None if row is None else ServiceHistory(name=name, step=STEP, points=_points(row.rps))
            case ["topology", caller, callee]:
                edge = next((e for e in mesh.topology.edges if (e.from_, e.to) == (caller, callee)), None)
                return edge and EdgeHistory(from_=caller, to=callee, step=STEP, points=_points(edge.rps))
        return None

    def _past(self, at: float) -> PastMesh | None:
        """The last moment until then, with the events until then."""
        times = [moment.time for moment in self.moments if moment.time <= at]
        if not times:
            return None
        index = len(times) - 1
        before = times[index - 1] if index else 0.0
        after = self.moments[index + 1].time if index + 1 < len(self.moments) else 0.0
        oldest, newest = self.moments[0].time, self.moments[-1].time
        return PastMesh(
            at=at,
            moment=self.moments[index],
            recorded=RecordedRange(oldest=oldest, newest=newest, earlier=before, later=after),
            events=tuple(event for event in self.mesh.events if event.time <= at),
        )

    def _logs(self, parts: list[str], request: web.Request) -> ProxyLogs | None:
        """The app's log of a proxy, which `logs` has under the proxy's name, and an empty one of Envoy."""
        match parts:
            case ["proxies", name, "logs"]:
                text = self.logs.get(name, "")
                after = int(request.query.get("app", "0"))
                app = LogPart(source="app", file=f"/logs/{name}.log", text=text[after:], end=len(text))
                envoy = LogPart(source="proxy", file=f"/logs/{name}-envoy.log")
                return ProxyLogs(proxy=name, logs=(envoy, app))
        return None

    def _service_policies(self, name: str, caller: str) -> ServicePolicies:
        configured = self.mesh.service_policies
        policies = configured.get((name, caller)) or configured.get((name, ""))
        return policies or service_policies(self.mesh, name)

    def _documents(self, kind_and_name: list[str]) -> DocumentList | None:
        documents = tuple(
            document
            for document in self.mesh.documents
            if [document["kind"], document["metadata"]["name"]][: len(kind_and_name)] == kind_and_name
        )
        if kind_and_name and not documents:
            return None
        return DocumentList(revision=self.mesh.revision, documents=documents)

    def _documents_at(self, revision: int) -> tuple[dict[str, Any], ...]:
        """The documents of a revision: older ones differ only in the breaker's limit."""
        documents = []
        for document in self.mesh.documents:
            spec = document["spec"]
            if document["metadata"]["name"] == "inventory-limits" and revision != self.mesh.revision:
                spec = {**spec, "maxRequests": 64}
            documents.append({**document, "spec": spec})
        return tuple(documents)

    def _traces(self, request: web.Request) -> TraceList:
        service, errors = request.query.get("service", ""), request.query.get("errors") == "true"
        summaries = [
            TraceSummary(**trace.model_dump(exclude={"tree", "dropped"}))
            for trace in self.mesh.traces
            if (not service or service in {share.service for share in trace.services})
            and (trace.errors or not errors)
        ]
        return TraceList(traces=tuple(summaries[: int(request.query.get("limit", "20"))]))

    async def _post(self, request: web.Request) -> web.StreamResponse:
        rest, body = request.match_info["rest"], await request.json()
        self.posted.append((rest, body))
        if rest == "explain":
            return _response(explained_call(AccessQuery(**body), self.mesh.revision))
        changed = (DocumentChange(kind="CircuitBreaker", name="inventory-limits", action="changed"),)
        if rest == "diff":
            diff = "--- now\n+++ then\n-  maxRequests: 8\n+  maxRequests: 64\n"
            return _response(DiffResponse(revision=self.mesh.revision, changed=changed, document_diff=diff))
        number = self.mesh.revision + 1
        if not body.get("dryRun"):
            info = RevisionInfo(
                revision=number, author=body["author"], time=NOW, message=body["message"], changed=changed
            )
            proxies = tuple(proxy.model_copy(update={"revision": number}) for proxy in self.mesh.proxies)
            self.mesh = replace(
                self.mesh, revision=number, proxies=proxies, revisions=(info, *self.mesh.revisions)
            )
            return _response(ApplyResponse(revision=number, changed=changed))
        diff = "--- a/CircuitBreaker/inventory-limits\n+++ b/CircuitBreaker/inventory-limits\n"
        diff += "@@ -4,7 +4,7 @@\n   name: inventory-limits\n spec:\n   consecutiveFailures: 5\n"
        diff += "-  maxRequests: 8\n+  maxRequests: 64\n   openFor: 60s\n"
        preview = ApplyResponse(
            revision=self.mesh.revision,
            changed=changed,
            document_diff=diff,
            affected_proxies=("orders-1", "orders-2", "storefront-1"),
        )
        return _response(preview)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if "text/event-stream" not in request.headers.get("Accept", ""):
            limit, kind = int(request.query.get("limit", "50")), request.query.get("kind", "")
            events = [event for event in self.mesh.events if kind in ("", event.kind)]
            return _response(EventList(events=tuple(events[:limit])))
        return await self._stream(request)

    async def _tap(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[TapEvent | None] = asyncio.Queue()
        self.tap_queues.append(queue)
        try:
            await response.write(b": listening\n\n")
            while event := await queue.get():
                await response.write(f"data: {event.model_dump_json()}\n\n".encode())
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.tap_queues.remove(queue)
        return response

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        last = request.headers.get("Last-Event-ID", "")
        for missed in reversed(self.mesh.events):
            if last and missed.id > last:
                queue.put_nowait(missed)
        self.event_queues.append(queue)
        try:
            await response.write(b"retry: 1000\n\n")
            while event := await queue.get():
                await response.write(f"id: {event.id}\ndata: {event.model_dump_json()}\n\n".encode())
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.event_queues.remove(queue)
        return response


def _points(rps: float) -> tuple[HistoryPoint, ...]:
    return tuple(
        HistoryPoint(
            age_s=STEP * (STEPS - n), requests=rps * STEP, failures=rps * (n > 45), p99_ms=20 + n, p50_ms=5
        )
        for n in range(STEPS)
    )


def _response(message: ApiModel) -> web.Response:
    return web.Response(body=message.model_dump_json(by_alias=True).encode(), content_type="application/json")


def _error(status: int, code: Any, message: str) -> web.Response:
    response = _response(ErrorResponse(error=ErrorInfo(code=code, message=message)))
    response.set_status(status)
    return response


@asynccontextmanager
async def fake_admin_api(scenario: str = "exchange") -> AsyncIterator[FakeAdminApi]:
    """A running fake that serves a scenario."""
    fake = FakeAdminApi(SCENARIOS[scenario]())
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
