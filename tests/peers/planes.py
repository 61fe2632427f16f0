"""Control planes for tests of what they tell each other: real gRPC and mutual TLS, announced in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from control_plane.errors import StoreError
from control_plane.mtls.server import Certificates, Credentials
from control_plane.peers.app import Peers
from tests.fakes.pki import DOMAIN, Pki


@dataclass
class Board:
    """The store's part in memory; `away`: it cannot be reached."""

    told: dict[str, str] = field(default_factory=dict)
    away: bool = False

    async def announce(self, id: str, text: str) -> Mapping[str, str]:
        if self.away:
            raise StoreError("away")
        self.told[id] = text
        return {other: words for other, words in self.told.items() if other != id}

    async def withdraw(self, id: str) -> None:
        self.told.pop(id, None)


@dataclass
class Plane:
    """One control plane; its certificate may be replaced."""

    peers: Peers
    server: grpc.aio.Server
    port: int
    credentials: Credentials
    certificates: Certificates
    task: asyncio.Task[None] | None = None

    def renew(self, credentials: Credentials) -> None:
        """Use another certificate from now on, on both ends."""
        self.credentials = credentials
        self.certificates.replace(credentials)


@asynccontextmanager
async def plane(board: Board, pki: Pki, advertised: str = "") -> AsyncIterator[Plane]:
    """A control plane that runs until the block ends; `advertised` instead of where it listens."""
    first = pki.server()
    certificates = Certificates(first)
    peers = Peers(board, lambda: made.credentials, DOMAIN)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((peers.service(),))
    port = server.add_secure_port("127.0.0.1:0", certificates.server_credentials())
    made = Plane(peers, server, port, first, certificates)
    await server.start()
    made.task = asyncio.create_task(peers.run(advertised or f"127.0.0.1:{port}", "http://here"))
    try:
        yield made
    finally:
        made.task.cancel()
        await asyncio.gather(made.task, return_exceptions=True)
        await server.stop(0)
