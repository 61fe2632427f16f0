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
from control_plane.admin.mesh import CanonicalDocument, Mesh
from control_plane.api.discovery import Endpoint
from control_plane.api.types import InstanceStatus, ProxyDetail, ProxyStatus, Status
from tests.fakes.store import FakeStore


@dataclass
class FakeMesh:
    """A running server: what it answers can be changed by a test. `proxies` None: one that follows."""

    state: Path
    store: FakeStore = field(default_factory=FakeStore)
    proxies: tuple[ProxyStatus, ...] | None = None
    details: tuple[ProxyDetail, ...] = ()
    status: Status = field(default_factory=lambda: Status(revision=0, store="ok"))
    url: str = ""
    token: str = ""

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint(self.url, self.token)

    def report(self) -> Status:
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
    fake = FakeMesh(state, token=server.ensure_token(state))
    mesh = Mesh(
        revisions=fake.store,
        status=fake.report,
        instances=lambda: [
            InstanceStatus(name="orders-1", service="orders", address="127.0.0.1:4000", health="healthy")
        ],
        mint_token=lambda role, name, ttl: f"token-of-{role}-{name}-{ttl:g}",
        now=time.monotonic,
        pause=asyncio.sleep,
        proxies=lambda: fake.details,
        warnings=_warnings,
    )
    running = await server.start(mesh, fake.token, bind="127.0.0.1", port=0)
    fake.url = f"http://127.0.0.1:{running.port}"
    addresses = {"admin": fake.url, "xds": "x", "enrolment": "x", "ca_sha256": "x"}
    (state / "mesh.json").write_text(json.dumps(addresses))
    try:
        yield fake
    finally:
        await running.stop()
