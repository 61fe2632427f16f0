"""An admin API on a free port over fakes, for tests of the server, its client and the command line."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meshwright.control_plane.admin import server
from meshwright.control_plane.admin.context import AdminContext, CanonicalDocument, TokenRole
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.models.base import InstanceStatus, ProxyDetail, ProxyStatus, Status
from meshwright.control_plane.api.models.policies import NewToken, TokenInfo
from meshwright.control_plane.api.models.topology import ServiceList
from meshwright.control_plane.cluster.traces import ClusterTraces
from meshwright.control_plane.errors import MeshError, NotFoundError
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.fakes.members import FakeMembers
from tests.fakes.store import FakeStore


@dataclass
class FakeTokens:
    """Join tokens in memory; `kept` by id, in the order in which they were made."""

    tokens: dict[str, TokenInfo] = field(default_factory=dict)

    async def mint(self, role: TokenRole, name: str, ttl: float, author: str) -> NewToken:
        made = TokenInfo(
            id=f"id-{len(self.tokens) + 1}",
            role=role,
            name=name,
            created=time.time(),
            expires=time.time() + ttl,
            author=author,
        )
        self.tokens[made.id] = made
        return NewToken(token=f"token-of-{role}-{name}-{ttl:g}", id=made.id, expires=made.expires)

    async def list(self) -> tuple[TokenInfo, ...]:
        return tuple(reversed(self.tokens.values()))

    async def revoke(self, id: str) -> None:
        if id not in self.tokens:
            raise NotFoundError(f"token {id}: there is none")
        self.tokens[id] = self.tokens[id].model_copy(update={"revoked": True})


@dataclass
class FakeMesh:
    """A running server: what it answers can be changed by a test. `proxies` None: one that follows.

    `told`: what orders-1's agent answers to each kind of ask; what it was asked stands in `asked`.
    """

    state: Path
    store: FakeStore = field(default_factory=FakeStore)
    tokens: FakeTokens = field(default_factory=FakeTokens)
    proxies: tuple[ProxyStatus, ...] | None = None
    details: tuple[ProxyDetail, ...] = ()
    replies: dict[str, str | MeshError] = field(default_factory=dict)
    commands: list[tuple[str, str, str]] = field(default_factory=list)
    traces: TraceStore = field(default_factory=TraceStore)
    services: ServiceList = field(default_factory=ServiceList)
    status: Status = field(default_factory=lambda: Status(revision=0, store="ok"))
    affected: tuple[str, ...] = ()
    url: str = ""
    token: str = ""
    read_token: str = ""

    @property
    def endpoint(self) -> ApiEndpoint:
        """Where it answers."""
        return ApiEndpoint(self.url, self.token)

    @property
    def read_only_endpoint(self) -> ApiEndpoint:
        """The same for who may only read."""
        return ApiEndpoint(self.url, self.read_token)

    async def run_command(self, node: str, kind: str, argument: str) -> str:
        """As app.py would have a sidecar asked."""
        self.commands.append((node, kind, argument))
        told = self.replies.get(kind) if node == "orders-1" else None
        if told is None:
            raise NotFoundError(f"no such proxy: {node}")
        if isinstance(told, MeshError):
            raise told
        return told

    async def affected_proxies(self, _before: object, _after: object) -> tuple[str, ...]:
        """Whom every change configures anew."""
        return self.affected

    async def report(self) -> Status:
        """The status as app.py would give it."""
        newest = self.store.revisions[-1].info.revision
        following = (ProxyStatus(name="orders-1", service="orders", state="synced", revision=newest),)
        proxies = following if self.proxies is None else self.proxies
        return self.status.model_copy(update={"revision": newest, "proxies": proxies})


def _warnings(documents: Sequence[CanonicalDocument]) -> list[str]:
    """A target that is no service of the fake mesh."""
    return [
        f"{document['kind']}/{document['metadata']['name']}: there is no Service {target['name']} yet"
        for document in documents
        for target in document["spec"].get("targetRefs", ())
        if target["kind"] == "Service" and target["name"] not in {"orders", "inventory"}
    ]


@asynccontextmanager
async def fake_mesh(state: Path) -> AsyncIterator[FakeMesh]:
    """Start the server, write mesh.json into `state`, stop it at the end."""
    token = server.ensure_token(state)
    fake = FakeMesh(state, token=token, read_token=server.ensure_read_token(state, "", token))
    mesh = AdminContext(
        revisions=fake.store,
        status=fake.report,
        instances=lambda: [
            InstanceStatus(name="orders-1", service="orders", address="127.0.0.1:4000", health="healthy")
        ],
        tokens=fake.tokens,
        now=time.monotonic,
        sleep=asyncio.sleep,
        proxies=lambda: fake.details,
        services=lambda: fake.services,
        warnings=_warnings,
        traces=ClusterTraces(fake.traces, FakeMembers()),
        affected_proxies=fake.affected_proxies,
        run_command=fake.run_command,
    )
    running = await server.start(mesh, fake.token, bind="127.0.0.1", port=0, read_token=fake.read_token)
    fake.url = f"http://127.0.0.1:{running.port}"
    addresses = {"admin": fake.url, "xds": "x", "enrolment": "x", "ca_sha256": "x"}
    (state / "mesh.json").write_text(json.dumps(addresses))
    try:
        yield fake
    finally:
        await running.stop()
