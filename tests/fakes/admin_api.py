"""An admin API that tells a scenario, on a free port: what the dashboard's tests look at.

```
async with fake_admin("exchange") as api:
    api.world = replace(api.world, ...)       # from now on it tells this
    await api.happen(Event(...))              # to all who listen
    await api.stop(); await api.start()       # away, and back on the same port
    api.asked                                 # every path that was asked for, `api.changes` what was posted
```
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from meshwright.control_plane.api.calls import PREFIX
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.models.base import ApiModel, DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.commands import ProxyConfig
from meshwright.control_plane.api.models.events import Event, EventList
from meshwright.control_plane.api.models.policies import (
    ApplyResponse,
    DiffResponse,
    DocumentList,
    ErrorInfo,
    ErrorResponse,
    InstanceList,
    ProxyList,
    RevisionDetail,
    RevisionList,
)
from meshwright.control_plane.api.models.topology import EdgeHistory as EdgeHistory
from meshwright.control_plane.api.models.topology import HistoryPoint, ServiceHistory
from meshwright.control_plane.api.models.traces import TraceList, TraceSummary
from tests.fakes.fixture_parts import config_dump
from tests.fakes.mesh_fixture import NOW, STEP, STEPS, MeshFixture
from tests.fakes.ports import free_port
from tests.fakes.scenarios import SCENARIOS

TOKEN = "t" * 43


@dataclass
class FakeAdminApi:
    """What it tells is `world`; a test may replace it at any moment."""

    mesh: MeshFixture
    port: int = 0
    requests: list[str] = field(default_factory=list)
    posted: list[tuple[str, Any]] = field(default_factory=list)
    delay: float = 0.0
    event_queues: list[asyncio.Queue[Event | None]] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> ApiEndpoint:
        """Where it answers."""
        return ApiEndpoint(f"http://127.0.0.1:{self.port}", TOKEN)

    async def start(self) -> None:
        """Listen, on the port of before where there was one."""
        app = web.Application(middlewares=[self._enter])
        app.router.add_get(f"{PREFIX}/events", self._events)
        app.router.add_post(f"{PREFIX}/{{rest:.*}}", self._change)
        app.router.add_get(f"{PREFIX}/{{rest:.*}}", self._tell)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        self.port = self.port or free_port()  # one that stays free while it is away
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()

    async def stop(self) -> None:
        """Be away: no new connection, and the standing ones are cut."""
        for queue in self.event_queues:
            queue.put_nowait(None)
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def emit(self, event: Event) -> None:
        """Something happens now."""
        self.mesh = replace(self.mesh, events=(event, *self.mesh.events))
        for queue in self.event_queues:
            queue.put_nowait(event)

    # --- answers ------------------------------------------------------------------------------------

    @web.middleware
    async def _enter(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append(request.path_qs)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _fault(401, "unauthorized", "no valid bearer token")
        if self.delay:
            await asyncio.sleep(self.delay)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        parts = request.match_info["rest"].split("/")
        found = self._answer(parts, request)
        return _fault(404, "not-found", "there is no such thing") if found is None else _reply(found)

    def _answer(self, parts: list[str], request: web.Request) -> ApiModel | None:
        world = self.mesh
        match parts:
            case ["status"]:
                return world.status
            case ["topology"]:
                return world.topology
            case ["services"]:
                return world.services
            case ["proxies"]:
                return ProxyList(proxies=world.proxies)
            case ["instances"]:
                return InstanceList(instances=world.instances)
            case ["policies", *which]:
                return self._documents(which)
            case ["revisions"]:
                return RevisionList(revisions=world.revisions)
            case ["traces"]:
                return self._traces(request)
        return self._one(parts)

    def _one(self, parts: list[str]) -> ApiModel | None:
        world = self.mesh
        match parts:
            case ["revisions", number]:
                found = [each for each in world.revisions if each.revision == int(number)]
                return RevisionDetail(info=found[0], documents=self._then(int(number))) if found else None
            case ["proxies", name, "config"]:
                known = name in {proxy.name for proxy in world.proxies}
                return ProxyConfig(proxy=name, configs=config_dump(world)) if known else None
            case ["traces", id]:
                return next((trace for trace in world.traces if trace.id.startswith(id)), None)
            case ["services", name, "history"]:
                row = next((row for row in world.services.services if row.name == name), None)
                return None if row is None else ServiceHistory(name=name, step=STEP, points=_points(row.rps))
            case ["topology", caller, callee]:
                edge = next((e for e in world.topology.edges if (e.from_, e.to) == (caller, callee)), None)
                return edge and EdgeHistory(from_=caller, to=callee, step=STEP, points=_points(edge.rps))
        return None

    def _documents(self, which: list[str]) -> DocumentList | None:
        found = tuple(
            one
            for one in self.mesh.documents
            if [one["kind"], one["metadata"]["name"]][: len(which)] == which
        )
        return DocumentList(revision=self.mesh.revision, documents=found) if found or not which else None

    def _then(self, number: int) -> tuple[dict[str, Any], ...]:
        """The documents of a revision: only the breaker's limit ever changed."""
        made = []
        for one in self.mesh.documents:
            spec = one["spec"]
            if one["metadata"]["name"] == "inventory-limits" and number != self.mesh.revision:
                spec = {**spec, "maxRequests": 64}
            made.append({**one, "spec": spec})
        return tuple(made)

    def _traces(self, request: web.Request) -> TraceList:
        service, errors = request.query.get("service", ""), request.query.get("errors") == "true"
        found = [
            TraceSummary(**trace.model_dump(exclude={"tree", "dropped"}))
            for trace in self.mesh.traces
            if (not service or service in {share.service for share in trace.services})
            and (trace.errors or not errors)
        ]
        return TraceList(traces=tuple(found[: int(request.query.get("limit", "20"))]))

    async def _change(self, request: web.Request) -> web.StreamResponse:
        rest, body = request.match_info["rest"], await request.json()
        self.posted.append((rest, body))
        changed = (DocumentChange(kind="CircuitBreaker", name="inventory-limits", action="changed"),)
        if rest == "diff":
            words = "--- now\n+++ then\n-  maxRequests: 8\n+  maxRequests: 64\n"
            return _reply(DiffResponse(revision=self.mesh.revision, changed=changed, document_diff=words))
        number = self.mesh.revision + 1
        if not body.get("dryRun"):
            info = RevisionInfo(
                revision=number, author=body["author"], time=NOW, message=body["why"], changed=changed
            )
            proxies = tuple(each.model_copy(update={"revision": number}) for each in self.mesh.proxies)
            self.mesh = replace(
                self.mesh, revision=number, proxies=proxies, revisions=(info, *self.mesh.revisions)
            )
            return _reply(ApplyResponse(revision=number, changed=changed))
        words = "--- a/CircuitBreaker/inventory-limits\n+++ b/CircuitBreaker/inventory-limits\n"
        words += "@@ -4,7 +4,7 @@\n   name: inventory-limits\n spec:\n   consecutiveFailures: 5\n"
        words += "-  maxRequests: 8\n+  maxRequests: 64\n   openFor: 60s\n"
        told = ApplyResponse(
            revision=self.mesh.revision,
            changed=changed,
            document_diff=words,
            affected_proxies=("orders-1", "orders-2", "storefront-1"),
        )
        return _reply(told)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if "text/event-stream" not in request.headers.get("Accept", ""):
            limit, kind = int(request.query.get("limit", "50")), request.query.get("kind", "")
            found = [event for event in self.mesh.events if kind in ("", event.kind)]
            return _reply(EventList(events=tuple(found[:limit])))
        return await self._stream(request)

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


def _reply(message: ApiModel) -> web.Response:
    return web.Response(body=message.model_dump_json(by_alias=True).encode(), content_type="application/json")


def _fault(status: int, code: Any, message: str) -> web.Response:
    reply = _reply(ErrorResponse(error=ErrorInfo(code=code, message=message)))
    reply.set_status(status)
    return reply


@asynccontextmanager
async def fake_admin_api(scenario: str = "exchange") -> AsyncIterator[FakeAdminApi]:
    """Start one that tells a scenario; stop it at the end."""
    fake = FakeAdminApi(SCENARIOS[scenario]())
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
