"""Control planes for tests of what they tell each other: real gRPC and mutual TLS, announced in memory."""

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
    """The store's part in memory; `away`: it cannot be reached."""

    announcements: dict[str, str] = field(default_factory=dict)
    unavailable: bool = False

    async def announce(self, id: str, text: str) -> Mapping[str, str]:
        if self.unavailable:
            raise StoreError("away")
        self.announcements[id] = text
        return {other: words for other, words in self.announcements.items() if other != id}

    async def withdraw(self, id: str) -> None:
        self.announcements.pop(id, None)


@dataclass
class RunningMember:
    """One control plane; its certificate may be replaced."""

    members: Members
    server: grpc.aio.Server
    port: int
    credentials: TlsCredentials
    certificates: ReloadableCertificates
    task: asyncio.Task[None] | None = None

    def renew(self, credentials: TlsCredentials) -> None:
        """Use another certificate from now on, on both ends."""
        self.credentials = credentials
        self.certificates.replace(credentials)


@asynccontextmanager
async def running_member(
    board: FakeAnnouncementStore, pki: Pki, advertised: str = ""
) -> AsyncIterator[RunningMember]:
    """A control plane that runs until the block ends; `advertised` instead of where it listens."""
    first = pki.server()
    certificates = ReloadableCertificates(first)
    peers = Members(board, lambda: made.credentials, DOMAIN)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((peers.grpc_service(),))
    port = server.add_secure_port("127.0.0.1:0", certificates.server_credentials())
    made = RunningMember(peers, server, port, first, certificates)
    await server.start()
    made.task = asyncio.create_task(peers.run(advertised or f"127.0.0.1:{port}", "http://here"))
    try:
        yield made
    finally:
        made.task.cancel()
        await asyncio.gather(made.task, return_exceptions=True)
        await server.stop(0)
