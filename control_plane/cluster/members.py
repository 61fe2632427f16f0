"""The other control planes of the mesh: discovery through the store, polling, calls.

Each control plane announces itself in the store (id, xDS address, admin URL) every two seconds, finds the
others there, and polls each of them every second. Further methods are registered by whoever serves them:

    members.register_method(FIND_PROXY, find)              # async def find(request: pb.Command) -> ...
    locations = await members.broadcast(FIND_PROXY, request)

`broadcast` calls only peers that responded to their last poll, all at once, so that an unreachable peer costs
one timeout. It does not call this control plane itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from meshwright.control_plane.api.models.status import ControlPlaneStatus
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster import metrics
from meshwright.control_plane.cluster.announcements import (
    Announcement,
    AnnouncementStore,
    parse_announcements,
)
from meshwright.control_plane.cluster.connection import PeerConnection
from meshwright.control_plane.cluster.methods import PING, Method, RequestT, ResponseT
from meshwright.control_plane.cluster.peer_client import CALL_TIMEOUT, Handler, PeerError
from meshwright.control_plane.cluster.service import ClusterService, ServedMethod
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.tls import TlsCredentials

ANNOUNCE_INTERVAL = 2.0
"""Seconds: a third of an announcement's TTL."""

POLL_INTERVAL = 1.0
"""Seconds: as often as sidecars report."""

MIN_POLL_PAUSE = 0.1
"""Seconds between two polls of a slow peer."""

LOST_AFTER = 5.0
"""Seconds without a response after which a peer's state is no longer shown."""

MAX_PEERS = 16
"""Peers that are polled. Further control planes are ignored."""

log = structlog.get_logger(__name__)

PollPeer = Callable[[str], Awaitable[None]]
"""Fetches the state of the peer with this id. Raises PeerError."""


@dataclass(slots=True)
class _Member:
    """A peer. `last_response`: by the monotonic clock; `error`: why it is unreachable, "" if it is not."""

    id: str
    announcement: Announcement
    connection: PeerConnection
    last_response: float
    error: str = "no response yet"
    task: asyncio.Task[None] | None = None


class Members:
    """All other control planes. `credentials` returns the certificate in use; it is read before each poll.

    `on_poll` fetches a peer's state; `on_lost` is called with the id of a peer whose state is out of date.
    `is_first`: no other control plane was announced when this one started.
    """

    def __init__(
        self, store: AnnouncementStore, credentials: Callable[[], TlsCredentials], trust_domain: str
    ) -> None:
        self.id = secrets.token_hex(8)
        self._store = store
        self._credentials = credentials
        self._methods: dict[str, ServedMethod] = {}
        self._service = ClusterService(self.id, trust_domain, self._methods)
        self._peers: dict[str, _Member] = {}
        self._announcement = Announcement(xds="")
        self._announced = False
        self.is_first = False
        self.on_poll: PollPeer = self._ping
        self.on_lost: Callable[[str], None] = lambda _id: None
        self.register_method(PING, _respond_to_ping)

    # --- calls (PeerClient) -------------------------------------------------------------------------

    def register_method(
        self, method: Method[RequestT, ResponseT], handler: Handler[RequestT, ResponseT]
    ) -> None:
        """Serve a method to peers. A handler must not call peers in turn."""
        self._methods[method.name] = ServedMethod(method, handler)

    def reachable(self) -> tuple[str, ...]:
        """Ids of the peers that responded to their last poll."""
        return tuple(peer.id for peer in self._peers.values() if not peer.error)

    async def broadcast(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_seconds: float = CALL_TIMEOUT,
    ) -> list[ResponseT]:
        """Call all reachable peers at once. Peers that fail or are late are left out; nothing is raised."""
        calls = (self._try_call(id, method, request, timeout_seconds) for id in self.reachable())
        responses = await asyncio.gather(*calls)
        return [response for response in responses if response is not None]

    async def call(
        self,
        id: str,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        timeout_seconds: float = CALL_TIMEOUT,
    ) -> ResponseT:
        """Call one peer; raises PeerError."""
        peer = self._peers.get(id)
        if peer is None:
            raise PeerError("gone", f"control plane {id} is gone")
        try:
            return await peer.connection.call(method, request, timeout_seconds)
        except PeerError as error:
            if error.reason != "not_found":
                metrics.FAILURES.labels(error.reason).inc()
            raise

    def grpc_service(self) -> ClusterService:
        """The handler for the xDS port's gRPC server."""
        return self._service

    # --- status -------------------------------------------------------------------------------------

    def statuses(self) -> tuple[ControlPlaneStatus, ...]:
        """This control plane and all others by address; empty if there are no others."""
        if not self._peers:
            return ()
        now = time.monotonic()
        announced = self._announcement
        this = ControlPlaneStatus(
            address=announced.xds, admin=announced.admin, state="this", version=announced.version
        )
        peers = (_status(peer, now) for peer in self._peers.values())
        return this, *sorted(peers, key=lambda status: status.address)

    def address(self, id: str) -> str:
        """`host:port` of the xDS port of this control plane or a peer; the id of one that is gone."""
        if id == self.id:
            return self._announcement.xds
        return self._peers[id].announcement.xds if id in self._peers else id

    def admin_addresses(self) -> tuple[str, ...]:
        """`host:port` of the admin API of this control plane and of all others."""
        urls = (self._announcement.admin, *(peer.announcement.admin for peer in self._peers.values()))
        return tuple(sorted(urlsplit(url).netloc for url in urls if url))

    # --- discovery and polling ------------------------------------------------------------------------

    async def run(self, xds: str, admin: str) -> None:
        """Announce this control plane and poll the others until cancelled."""
        self._announcement = Announcement(xds=xds, admin=admin, version=VERSION)
        try:
            while True:
                with contextlib.suppress(StoreError):
                    others = await self._store.announce(self.id, self._announcement.model_dump_json())
                    if not self._announced:
                        self._announced, self.is_first = True, not others
                    await self._update_peers(parse_announcements(others))
                await asyncio.sleep(ANNOUNCE_INTERVAL)
        finally:
            for peer in tuple(self._peers.values()):
                await self._remove(peer)
            with contextlib.suppress(StoreError):
                await self._store.withdraw(self.id)

    async def _update_peers(self, announcements: Mapping[str, Announcement]) -> None:
        """Add new peers; remove those that moved, or are no longer announced and do not respond."""
        for peer in tuple(self._peers.values()):
            moved = announcements.get(peer.id, peer.announcement) != peer.announcement
            if moved or (peer.id not in announcements and peer.error):
                await self._remove(peer)
        for id, announcement in announcements.items():
            if id in self._peers or len(self._peers) >= MAX_PEERS:
                continue
            connection = PeerConnection(id, announcement.xds, self._credentials())
            peer = _Member(id, announcement, connection, time.monotonic())
            peer.task = asyncio.create_task(self._poll_loop(peer))
            self._peers[id] = peer
            log.info("control plane found", peer=announcement.xds)
        self._update_metrics()

    async def _remove(self, peer: _Member) -> None:
        del self._peers[peer.id]
        if peer.task is not None:
            peer.task.cancel()
            await asyncio.gather(peer.task, return_exceptions=True)
        await peer.connection.close()
        self.on_lost(peer.id)
        self._update_metrics()
        log.info("control plane gone", peer=peer.announcement.xds)

    async def _poll_loop(self, peer: _Member) -> None:
        lost = False
        while True:
            started = time.monotonic()
            error = await self._poll(peer)
            if bool(error) != bool(peer.error):
                _log_transition(peer, error)
            peer.error = error
            if not error:
                peer.last_response, lost = time.monotonic(), False
            elif not lost and time.monotonic() - peer.last_response >= LOST_AFTER:
                lost = True
                self.on_lost(peer.id)
            self._update_metrics()
            await asyncio.sleep(max(MIN_POLL_PAUSE, POLL_INTERVAL - (time.monotonic() - started)))

    async def _poll(self, peer: _Member) -> str:
        """Poll once; returns the error, "" on success."""
        try:
            await self._renew_connection(peer)
            await self.on_poll(peer.id)
        except PeerError as error:
            return str(error)
        except Exception as error:
            log.exception("polling a control plane failed", peer=peer.announcement.xds)
            return f"its state cannot be read: {type(error).__name__}"
        return ""

    async def _renew_connection(self, peer: _Member) -> None:
        """Reconnect if the control plane's own certificate was renewed."""
        credentials = self._credentials()
        if credentials != peer.connection.credentials:
            old = peer.connection
            peer.connection = PeerConnection(peer.id, peer.announcement.xds, credentials)
            await old.close()

    async def _ping(self, id: str) -> None:
        await self.call(id, PING, pb.PingRequest())

    async def _try_call(
        self, id: str, method: Method[RequestT, ResponseT], request: RequestT, timeout_seconds: float
    ) -> ResponseT | None:
        try:
            return await self.call(id, method, request, timeout_seconds=timeout_seconds)
        except PeerError as error:
            log.debug("cluster call failed", peer=id, reason=str(error))
            return None

    def _update_metrics(self) -> None:
        metrics.PEERS.set(len(self._peers))
        metrics.REACHABLE.set(len(self.reachable()))


async def _respond_to_ping(_request: pb.PingRequest) -> pb.PingResponse:
    return pb.PingResponse()


def _log_transition(peer: _Member, error: str) -> None:
    if error:
        log.warning("control plane unreachable", peer=peer.announcement.xds, reason=error)
    else:
        log.info("control plane reachable", peer=peer.announcement.xds)


def _status(peer: _Member, now: float) -> ControlPlaneStatus:
    return ControlPlaneStatus(
        address=peer.announcement.xds,
        admin=peer.announcement.admin,
        version=peer.announcement.version,
        state="unreachable" if peer.error else "reachable",
        unreachable_seconds=round(now - peer.last_response, 1) if peer.error else 0.0,
        error=peer.error,
    )
