"""Control planes with real gRPC and mutual TLS between them, announced in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from meshwright.control_plane.cluster.members import Members
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.tls import ReloadableCertificates, TlsCredentials
from tests.fakes.pki import DOMAIN, Pki


@dataclass
class FakeAnnouncementStore:
    """Announcements in memory. `unavailable`: the store cannot be reached."""

    announcements: dict[str, str] = field(default_factory=dict)
    unavailable: bool = False
    calls: int = 0

    async def announce(self, id: str, text: str) -> Mapping[str, str]:
        self.calls += 1
        if self.unavailable:
            raise StoreError("unavailable")
        self.announcements[id] = text
        return {other: announced for other, announced in self.announcements.items() if other != id}

    async def withdraw(self, id: str) -> None:
        self.announcements.pop(id, None)


@dataclass
class RunningMember:
    """One control plane; its certificate can be replaced."""

    members: Members
    server: grpc.aio.Server
    port: int
    credentials: TlsCredentials
    certificates: ReloadableCertificates
    task: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self.members.id

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def renew(self, credentials: TlsCredentials) -> None:
        """Use another certificate as server and client from now on."""
        self.credentials = credentials
        self.certificates.replace(credentials)


@asynccontextmanager
async def running_member(
    store: FakeAnnouncementStore, pki: Pki, advertised: str = ""
) -> AsyncIterator[RunningMember]:
    """A control plane that runs until the block ends; `advertised` replaces the address it listens on."""
    credentials = pki.server()
    certificates = ReloadableCertificates(credentials)
    members = Members(store, lambda: running.credentials, DOMAIN)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((members.grpc_service(),))
    port = server.add_secure_port("127.0.0.1:0", certificates.server_credentials())
    running = RunningMember(members, server, port, credentials, certificates)
    await server.start()
    running.task = asyncio.create_task(members.run(advertised or f"127.0.0.1:{port}", "http://here"))
    try:
        yield running
    finally:
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        await server.stop(0)
