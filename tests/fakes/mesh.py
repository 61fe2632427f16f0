"""An admin API on a free port over fakes, for tests of the server, its client and the command line."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from control_plane.admin import server
from control_plane.admin.mesh import CanonicalDocument, Mesh, TokenRole
from control_plane.api.discovery import Endpoint
from control_plane.api.messages import Minted, TokenInfo
from control_plane.api.seen import Services
from control_plane.api.types import InstanceStatus, ProxyDetail, ProxyStatus, Status
from control_plane.errors import MeshError, NotFoundError
from control_plane.peers.traces import SharedTraces
from control_plane.telemetry.traces import Traces
from tests.fakes.peers import Reached
from tests.fakes.store import FakeStore


@dataclass
class FakeTokens:
    """Join tokens in memory; `kept` by id, in the order in which they were made."""

    kept: dict[str, TokenInfo] = field(default_factory=dict)

    async def mint(self, role: TokenRole, name: str, ttl: float, author: str) -> Minted:
        made = TokenInfo(
            id=f"id-{len(self.kept) + 1}",
            role=role,
            name=name,
            created=time.time(),
            expires=time.time() + ttl,
            author=author,
        )
        self.kept[made.id] = made
        return Minted(token=f"token-of-{role}-{name}-{ttl:g}", id=made.id, expires=made.expires)

    async def listed(self) -> tuple[TokenInfo, ...]:
        return tuple(reversed(self.kept.values()))

    async def revoke(self, id: str) -> None:
        if id not in self.kept:
            raise NotFoundError(f"token {id}: there is none")
        self.kept[id] = self.kept[id].model_copy(update={"revoked": True})


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
    told: dict[str, str | MeshError] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    traces: Traces = field(default_factory=Traces)
    services: Services = field(default_factory=Services)
    status: Status = field(default_factory=lambda: Status(revision=0, store="ok"))
    reaches: tuple[str, ...] = ()
    url: str = ""
    token: str = ""
    reading: str = ""

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint(self.url, self.token)

    @property
    def looking(self) -> Endpoint:
        """The same for who may only read."""
        return Endpoint(self.url, self.reading)

    async def ask(self, node: str, kind: str, argument: str) -> str:
        """As app.py would have a sidecar asked."""
        self.asked.append((node, kind, argument))
        told = self.told.get(kind) if node == "orders-1" else None
        if told is None:
            raise NotFoundError(f"no such proxy: {node}")
        if isinstance(told, MeshError):
            raise told
        return told

    async def reached(self, _before: object, _after: object) -> tuple[str, ...]:
        """Whom every change configures anew."""
        return self.reaches

    async def report(self) -> Status:
        """The status as app.py would give it."""
        newest = self.store.kept[-1].info.revision
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
    fake = FakeMesh(state, token=token, reading=server.reading_token(state, "", token))
    mesh = Mesh(
        revisions=fake.store,
        status=fake.report,
        instances=lambda: [
            InstanceStatus(name="orders-1", service="orders", address="127.0.0.1:4000", health="healthy")
        ],
        tokens=fake.tokens,
        now=time.monotonic,
        pause=asyncio.sleep,
        proxies=lambda: fake.details,
        services=lambda: fake.services,
        warnings=_warnings,
        traces=SharedTraces(fake.traces, Reached()),
        reaches=fake.reached,
        ask=fake.ask,
    )
    running = await server.start(mesh, fake.token, bind="127.0.0.1", port=0, reading=fake.reading)
    fake.url = f"http://127.0.0.1:{running.port}"
    addresses = {"admin": fake.url, "xds": "x", "enrolment": "x", "ca_sha256": "x"}
    (state / "mesh.json").write_text(json.dumps(addresses))
    try:
        yield fake
    finally:
        await running.stop()
