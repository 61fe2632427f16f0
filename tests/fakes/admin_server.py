"""An admin API on a free port over fakes, for tests of the server, its clients and the command line."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meshwright.control_plane.admin import server
from meshwright.control_plane.admin.protocols import EditPreview, unverified
from meshwright.control_plane.admin.rollout_editor import RolloutEditor
from meshwright.control_plane.admin.route import Route, Router
from meshwright.control_plane.admin.routers.authorization import AuthorizationRouter
from meshwright.control_plane.admin.routers.call_explanations import CallExplanationRouter
from meshwright.control_plane.admin.routers.events import EventsRouter
from meshwright.control_plane.admin.routers.evictions import EvictionsRouter
from meshwright.control_plane.admin.routers.explain import ExplainRouter
from meshwright.control_plane.admin.routers.instances import InstancesRouter
from meshwright.control_plane.admin.routers.jaeger import JaegerRouter
from meshwright.control_plane.admin.routers.lint import LintRouter
from meshwright.control_plane.admin.routers.moments import MomentsRouter
from meshwright.control_plane.admin.routers.policies import PoliciesRouter
from meshwright.control_plane.admin.routers.prometheus_sd import PrometheusSdRouter
from meshwright.control_plane.admin.routers.proxies import ProxiesRouter
from meshwright.control_plane.admin.routers.pushes import PushesRouter
from meshwright.control_plane.admin.routers.refusals import RefusalsRouter
from meshwright.control_plane.admin.routers.requests import RequestsRouter
from meshwright.control_plane.admin.routers.revisions import RevisionsRouter
from meshwright.control_plane.admin.routers.rollouts import RolloutsRouter
from meshwright.control_plane.admin.routers.services import ServicesRouter
from meshwright.control_plane.admin.routers.status import StatusRouter
from meshwright.control_plane.admin.routers.tap import TapRouter
from meshwright.control_plane.admin.routers.tokens import TokensRouter
from meshwright.control_plane.admin.routers.topology import TopologyRouter
from meshwright.control_plane.admin.routers.traces import TracesRouter
from meshwright.control_plane.admin.routers.wait import WaitRouter
from meshwright.control_plane.admin.sidecar_probe import SidecarProbe
from meshwright.control_plane.admin.token_files import ensure_read_token, ensure_token
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.models.authorization import AccessCheck, AccessMatrix, ObservedCalls
from meshwright.control_plane.api.models.call_explanation import CallExplanation, ExplainedHop, ExplainedRoute
from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.lint import LintFinding, LintReport
from meshwright.control_plane.api.models.moments import PastMesh
from meshwright.control_plane.api.models.policies import ServicePolicies
from meshwright.control_plane.api.models.proxies import EvictionResult, ProxyDetail, ProxyStatus
from meshwright.control_plane.api.models.push import Push, PushReport
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.tokens import NewToken, TokenInfo, TokenRole
from meshwright.control_plane.api.models.topology import ServiceList, Topology
from meshwright.control_plane.api.yaml.diff import unified_diff
from meshwright.control_plane.cluster.refusals import ClusterRefusals
from meshwright.control_plane.cluster.requests import ClusterRequests
from meshwright.control_plane.cluster.traces import ClusterTraces
from meshwright.control_plane.core.patches import Misfit
from meshwright.control_plane.core.revision import CanonicalDocument
from meshwright.control_plane.core.world import World
from meshwright.control_plane.errors import MeshError, NotFoundError
from meshwright.control_plane.status.access_probe import ProbePlan
from meshwright.control_plane.status.field_changes import field_changes
from meshwright.control_plane.status.preview import ChangePlan, misplaced_urls
from meshwright.control_plane.telemetry.requests.refusal_history import RefusalHistory
from meshwright.control_plane.telemetry.requests.store import RequestStore
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.fakes.members import FakeMembers
from tests.fakes.store import FakeStore


@dataclass
class FakeTokens:
    """Join tokens in memory, by id, oldest first."""

    tokens: dict[str, TokenInfo] = field(default_factory=dict)

    async def mint(self, role: TokenRole, name: str, ttl: float, author: str) -> NewToken:
        info = TokenInfo(
            id=f"id-{len(self.tokens) + 1}",
            role=role,
            name=name,
            created=time.time(),
            expires=time.time() + ttl,
            author=author,
        )
        self.tokens[info.id] = info
        return NewToken(token=f"token-of-{role}-{name}-{ttl:g}", id=info.id, expires=info.expires)

    async def list(self) -> tuple[TokenInfo, ...]:
        return tuple(reversed(self.tokens.values()))

    async def revoke(self, id: str) -> None:
        if id not in self.tokens:
            raise NotFoundError(f"no such token: {id}")
        self.tokens[id] = self.tokens[id].model_copy(update={"revoked": True})


class NoEvents:
    """A mesh without events."""

    async def newest(self, _limit: int, _before: str, _kind: str) -> Sequence[Event]:
        return ()

    async def follow(self, _after: str) -> AsyncIterator[Event | None]:
        for event in await self.newest(0, "", ""):
            yield event


@dataclass
class FakePushes:
    """A push before its first wave; `saved` and `withdrawn` (reasons) are what was done with it."""

    report: PushReport = field(default_factory=lambda: PushReport(newest=2, stable=1))
    saved: list[Push] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)

    async def read(self) -> PushReport:
        """The push."""
        return self.report

    async def save(self, _read: PushReport, push: Push) -> bool:
        """Takes everything."""
        self.saved.append(push)
        return True

    async def withdraw(self, _report: PushReport, reason: str, _author: str) -> None:
        """Takes everything."""
        self.withdrawn.append(reason)


@dataclass
class FakeMesh:
    """A running server; a test may change what it responds. `proxies` None: one proxy, in sync.

    `replies`: the results of orders-1's agent by kind of command; `commands`: those it was sent.
    """

    state: Path
    store: FakeStore = field(default_factory=FakeStore)
    tokens: FakeTokens = field(default_factory=FakeTokens)
    push: FakePushes = field(default_factory=FakePushes)
    proxies: tuple[ProxyStatus, ...] | None = None
    details: tuple[ProxyDetail, ...] = ()
    replies: dict[str, str | MeshError] = field(default_factory=dict)
    commands: list[tuple[str, str, str]] = field(default_factory=list)
    traces: TraceStore = field(default_factory=TraceStore)
    services: ServiceList = field(default_factory=ServiceList)
    policies: dict[tuple[str, str], ServicePolicies] = field(default_factory=dict)
    status: Status = field(default_factory=lambda: Status(revision=0, store="ok"))
    affected: tuple[str, ...] = ()
    topology: Topology = field(default_factory=Topology)
    findings: tuple[LintFinding, ...] = ()
    unfitting: tuple[Misfit, ...] = ()
    past: PastMesh | None = None
    forgotten: list[str] = field(default_factory=list)
    url: str = ""
    token: str = ""
    read_token: str = ""

    @property
    def endpoint(self) -> ApiEndpoint:
        """The server with the admin token."""
        return ApiEndpoint(self.url, self.token)

    @property
    def read_only_endpoint(self) -> ApiEndpoint:
        """The server with the read-only token."""
        return ApiEndpoint(self.url, self.read_token)

    async def run_command(self, node: str, kind: str, argument: str, service: str = "") -> str:
        """Record the command; its result is in `replies`."""
        self.commands.append((node, kind, argument))
        reply = self.replies.get(kind) if node == "orders-1" else None
        if reply is None:
            raise NotFoundError(f"no such proxy: {node}")
        if isinstance(reply, MeshError):
            raise reply
        return reply

    async def evict(self, node: str, service: str, author: str, message: str) -> EvictionResult:
        """Record the eviction like a command."""
        if node != "orders-1":
            raise NotFoundError(f"no such proxy: {node}")
        self.commands.append((node, "evict", f"{service} {author} {message}"))
        return EvictionResult(name=node, service=service or "orders", enrolments=1)

    async def report(self) -> Status:
        """The status, with the store's newest revision."""
        newest = self.store.revisions[-1].info.revision
        in_sync = (ProxyStatus(name="orders-1", service="orders", state="synced", revision=newest),)
        proxies = in_sync if self.proxies is None else self.proxies
        return self.status.model_copy(update={"revision": newest, "proxies": proxies})

    async def service_policies(self, name: str, caller: str) -> ServicePolicies | None:
        """From `policies`."""
        return self.policies.get((name, caller))

    async def past_at(self, at: float) -> PastMesh:
        """`past`, whenever it was."""
        if self.past is None:
            raise NotFoundError("nothing is recorded")
        return self.past

    async def forget(self, service: str) -> None:
        """Record the service; only `gone` can be forgotten."""
        if service != "gone":
            raise NotFoundError(f"service {service}: not found")
        self.forgotten.append(service)

    # --- EditPreview ------------------------------------------------------------------------------

    def warnings(self, documents: Sequence[CanonicalDocument]) -> list[str]:
        """Targets that are not services of the fake mesh."""
        return [
            f"{document['kind']}/{document['metadata']['name']}: there is no Service {target['name']} yet"
            for document in documents
            for target in document["spec"].get("targetRefs", ())
            if target["kind"] == "Service" and target["name"] not in {"orders", "inventory"}
        ]

    def service_names(self) -> tuple[str, ...]:
        """Those that `warnings` knows."""
        return ("inventory", "orders")

    def unresolved(
        self, applied: Sequence[CanonicalDocument], others: Sequence[CanonicalDocument], revision: int
    ) -> list[tuple[str, str]]:
        """The targets that `warnings` names."""
        warnings = (line.partition(": ") for line in self.warnings(applied))
        return [(ref, f"spec.targetRefs[0].name: {message}") for ref, _, message in warnings]

    def misplaced_urls(self, applied: Sequence[CanonicalDocument]) -> list[tuple[str, str]]:
        """Those of a mesh with one domain."""
        return misplaced_urls(World(0), applied)

    async def misfits(self, documents: Sequence[CanonicalDocument]) -> tuple[Misfit, ...]:
        """Those that the test has set."""
        return self.unfitting

    async def plan(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[ChangePlan, tuple[tuple[str, str], ...]]:
        """The documents, without resources; `affected`, all of orders, for every change."""
        fields = field_changes(before, after)
        plan = ChangePlan(unified_diff(before, after), fields=fields, findings=self.findings)
        return plan, tuple(("orders", name) for name in self.affected)

    async def lint(self) -> LintReport:
        """`findings`."""
        return LintReport(revision=7, seconds=3600, findings=self.findings)

    async def dry_run(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, tuple[str, ...]]:
        """The documents, and `affected` for every change."""
        return unified_diff(before, after), self.affected


def _call_routers(fake: FakeMesh) -> tuple[Router, ...]:
    """What is asked about calls between services."""
    probe = SidecarProbe(
        lambda query: ProbePlan("orders-1", "orders", query.service, ((f"{query.service}-1", "{}"),)),
        lambda _plan, _answered: None,
        fake.run_command,
    )
    return (
        AuthorizationRouter(
            fake.store,
            lambda _query, _changes, _sources: AccessCheck(allowed=True, message="no rule refuses it"),
            AccessMatrix,
            lambda seconds: ObservedCalls(seconds=seconds),
            probe,
        ),
        CallExplanationRouter(
            fake.store,
            lambda query, _changes, _sources: CallExplanation(
                summary="forwarded",
                verdict="forwarded",
                hops=(
                    ExplainedHop(proxy=query.caller, direction="outbound", routes=(ExplainedRoute(share=1),)),
                    ExplainedHop(
                        proxy=query.service,
                        direction="inbound",
                        of_routes=(0,),
                        routes=(ExplainedRoute(share=1, cluster="/app/http"),),
                    ),
                ),
            ),
            probe,
        ),
    )


def fake_routers(fake: FakeMesh) -> tuple[Router, ...]:
    """Every router, over a FakeMesh."""
    preview: EditPreview = fake
    traces = ClusterTraces(fake.traces, FakeMembers())
    requests = ClusterRequests(RequestStore(), FakeMembers())
    instance = InstanceStatus(name="orders-1", service="orders", address="127.0.0.1:4000", health="healthy")

    def proxies() -> tuple[ProxyDetail, ...]:
        return fake.details

    return (
        PoliciesRouter(fake.store, preview, topology=lambda: fake.topology),
        RevisionsRouter(fake.store, preview),
        LintRouter(fake.store, fake.lint),
        RolloutsRouter(lambda: (), RolloutEditor(fake.store, preview, unverified), now=time.time),
        PushesRouter(fake.push, fake.push.withdraw),
        WaitRouter(fake.store, fake.report, monotonic=time.monotonic, sleep=asyncio.sleep),
        StatusRouter(fake.report),
        InstancesRouter(lambda: [instance]),
        ProxiesRouter(proxies, fake.run_command),
        EvictionsRouter(fake.evict),
        TokensRouter(fake.tokens),
        MomentsRouter(fake.past_at),
        TopologyRouter(lambda: fake.topology, lambda _caller, _callee: None),
        ServicesRouter(lambda: fake.services, lambda _name: None, fake.service_policies, fake.forget),
        *_call_routers(fake),
        EventsRouter(NoEvents(), monotonic=time.monotonic),
        TracesRouter(traces),
        JaegerRouter(traces),
        RequestsRouter(requests, now=time.time),
        RefusalsRouter(ClusterRefusals(RefusalHistory(), FakeMembers(), time.time).list),
        ExplainRouter(requests, traces, fake.store, lambda _evidence: None, now=time.time),
        TapRouter(requests, proxies, fake.run_command, tuple, monotonic=time.monotonic, sleep=asyncio.sleep),
        PrometheusSdRouter(tuple, tuple),
    )


def fake_routes() -> tuple[Route, ...]:
    """Every route of the admin API, over a FakeMesh that is not running."""
    return tuple(route for router in fake_routers(FakeMesh(Path())) for route in router.routes())


@asynccontextmanager
async def fake_mesh(state: Path) -> AsyncIterator[FakeMesh]:
    """A running server whose mesh.json is in `state`."""
    token = ensure_token(state)
    fake = FakeMesh(state, token=token, read_token=ensure_read_token(state, "", token))
    running = await server.start(
        fake_routers(fake), fake.token, bind="127.0.0.1", port=0, read_token=fake.read_token
    )
    fake.url = f"http://127.0.0.1:{running.port}"
    addresses = {"admin": fake.url, "xds": "x", "enrolment": "x", "ca_sha256": "x"}
    (state / "mesh.json").write_text(json.dumps(addresses))
    try:
        yield fake
    finally:
        await running.stop()
