"""Who the other control planes are, and the way to ask them (what is asked: sharing, traces, and others).

Each control plane announces itself in the store (id, where its xDS port and admin API answer) every two
seconds, finds the others there, and polls each of them every second for its part of the picture. One that is
alone does nothing else. Whatever else others are to be asked for registers a method and asks everyone:

    peers.answers("Sum", add)                          # async def add(request: bytes) -> bytes
    found = await peers.everyone("Sum", b"1 2")        # the answers of those that gave one in time

`everyone` asks the peers alone (the caller knows its own part), all at once, and only those that answered
their last poll: one that is dead or hangs costs a single deadline. What is raised by a method is a missing
answer to who asks. Methods bound what they answer (server.ANSWER_LIMIT), and never ask others in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import structlog
from pydantic import Field, ValidationError

from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.status import ControlPlaneStatus
from meshwright.control_plane.cluster import metrics
from meshwright.control_plane.cluster.connection import PeerConnection, PeerError
from meshwright.control_plane.cluster.service import ClusterService, MethodHandler
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.tls import TlsCredentials

ANNOUNCE_INTERVAL = 2.0
"""Seconds between two announcements: a third of their life."""

POLL_INTERVAL = 1.0
"""Seconds between two polls of a peer: as often as sidecars tell."""

CALL_TIMEOUT = 1.0
"""Seconds that a peer has for an answer."""

LOST_AFTER = 5.0
"""Seconds without an answer after which a peer is no longer part of the picture."""

MAX_PEERS = 16
"""Peers that are asked; more control planes than that know a part of the mesh only."""

log = structlog.get_logger(__name__)

CallPeer = Callable[[str, bytes], Awaitable[bytes]]
"""Asks one peer: method and request. Raises PeerError."""

PollPeer = Callable[[str, CallPeer], Awaitable[None]]
"""Takes a peer's part: its id, and how to ask it. Raises PeerError."""


class Announcement(ApiModel):
    """Where a control plane answers: `xds` is host:port, `admin` a URL."""

    xds: str = Field(max_length=300)
    admin: str = Field("", max_length=300)


class AnnouncementStore(Protocol):
    """The store's part. Both raise StoreError when the store is away."""

    async def announce(self, id: str, text: str) -> Mapping[str, str]:
        """Keep `text` for a life more, and give what all others announced, by their id."""

    async def withdraw(self, id: str) -> None:
        """Take the announcement back."""


@dataclass(slots=True)
class _Member:
    """One peer. `heard`: when it answered last, by the monotonic clock; `trouble`: why it does not now."""

    id: str
    announcement: Announcement
    client: PeerConnection
    last_response: float
    error: str = "it has not answered yet"
    task: asyncio.Task[None] | None = None


class Members:
    """All other control planes. `credentials` gives the own certificate in use; it is asked before each poll.

    `poll` takes a peer's part of the picture; `lost` is told the id of one that is no longer in it.
    `came_first`: nobody else was there when this one announced itself.
    """

    def __init__(
        self, planes: AnnouncementStore, credentials: Callable[[], TlsCredentials], trust_domain: str
    ) -> None:
        self.id = secrets.token_hex(8)
        self._planes = planes
        self._credentials = credentials
        self._answers: dict[str, MethodHandler] = {"Hello": _hello}
        self._service = ClusterService(self.id, trust_domain, self._answers)
        self._peers: dict[str, _Member] = {}
        self._own = Announcement(xds="")
        self._announced = False
        self.is_first = False
        self.on_poll: PollPeer = _greet
        self.on_lost: Callable[[str], None] = lambda _id: None

    # --- for those that have something to ask -------------------------------------------------------

    def register_method(self, method: str, answer: MethodHandler) -> None:
        """Serve a method to peers: request bytes in, answer bytes out; a MeshError is a missing answer."""
        self._answers[method] = answer

    async def broadcast(
        self, method: str, request: bytes = b"", *, timeout_seconds: float = CALL_TIMEOUT
    ) -> list[bytes]:
        """The answers of all peers that give one within these seconds; nothing is raised."""
        asked = self.reachable()
        found = await asyncio.gather(*(self._one(id, method, request, timeout_seconds) for id in asked))
        return [one for one in found if one is not None]

    async def call(
        self, id: str, method: str, request: bytes = b"", *, timeout_seconds: float = CALL_TIMEOUT
    ) -> bytes:
        """The answer of one peer; raises PeerError."""
        peer = self._peers.get(id)
        if peer is None:
            raise PeerError("gone", f"control plane {id} is gone")
        try:
            return await peer.client.call(method, request, timeout_seconds)
        except PeerError as error:
            if error.reason != "not_found":
                metrics.FAILURES.labels(error.reason).inc()
            raise

    def reachable(self) -> tuple[str, ...]:
        """The ids of the peers that answered their last poll."""
        return tuple(one.id for one in self._peers.values() if not one.error)

    def grpc_service(self) -> ClusterService:
        """What to add to the xDS port's server."""
        return self._service

    def statuses(self) -> tuple[ControlPlaneStatus, ...]:
        """This control plane and all others, by address; none when there are no others."""
        if not self._peers:
            return ()
        now = time.monotonic()
        own = ControlPlaneStatus(address=self._own.xds, admin=self._own.admin, state="this")
        return (
            own,
            *sorted((_status(one, now) for one in self._peers.values()), key=lambda one: one.address),
        )

    def admin_addresses(self) -> tuple[str, ...]:
        """`host:port` of the admin API of this control plane and of all others."""
        known = (self._own.admin, *(one.announcement.admin for one in self._peers.values()))
        return tuple(sorted(urlsplit(one).netloc for one in known if one))

    # --- life -----------------------------------------------------------------------------------------

    async def run(self, xds: str, admin: str) -> None:
        """Announce this control plane, and follow the others, for ever."""
        self._own = Announcement(xds=xds, admin=admin)
        try:
            while True:
                with contextlib.suppress(StoreError):
                    told = await self._planes.announce(self.id, self._own.model_dump_json())
                    if not self._announced:
                        self._announced, self.is_first = True, not told
                    await self._know(dict(_read(told)))
                await asyncio.sleep(ANNOUNCE_INTERVAL)
        finally:
            for peer in tuple(self._peers.values()):
                await self._forget(peer)
            with contextlib.suppress(StoreError):
                await self._planes.withdraw(self.id)

    async def _know(self, told: Mapping[str, Announcement]) -> None:
        """Follow those that are new; forget those that are gone and no longer answer."""
        for peer in tuple(self._peers.values()):
            moved = told.get(peer.id, peer.announcement) != peer.announcement
            if moved or (peer.id not in told and peer.error):
                await self._forget(peer)
        for id, where in told.items():
            if id in self._peers or len(self._peers) >= MAX_PEERS:
                continue
            client = PeerConnection(id, where.xds, self._credentials())
            peer = _Member(id, where, client, time.monotonic())
            peer.task = asyncio.create_task(self._follow(peer))
            self._peers[id] = peer
            log.info("control plane found", peer=where.xds)
        self._count()

    async def _forget(self, peer: _Member) -> None:
        del self._peers[peer.id]
        if peer.task is not None:
            peer.task.cancel()
            await asyncio.gather(peer.task, return_exceptions=True)
        await peer.client.close()
        self.on_lost(peer.id)
        self._count()
        log.info("control plane gone", peer=peer.announcement.xds)

    async def _follow(self, peer: _Member) -> None:
        """Poll a peer for ever, whatever comes of it."""
        told_lost = False
        while True:
            begun = time.monotonic()
            trouble = await self._polled(peer)
            if bool(trouble) != bool(peer.error):
                _log_change(peer, trouble)
            peer.error = trouble
            if not trouble:
                peer.last_response, told_lost = time.monotonic(), False
            elif not told_lost and time.monotonic() - peer.last_response >= LOST_AFTER:
                told_lost = True
                self.on_lost(peer.id)
            self._count()
            await asyncio.sleep(max(0.1, POLL_INTERVAL - (time.monotonic() - begun)))

    async def _polled(self, peer: _Member) -> str:
        """Poll once; why that failed, empty when it did not."""
        try:
            await self._renew(peer)
            await self.on_poll(peer.id, lambda method, request: self.call(peer.id, method, request))
        except PeerError as error:
            return str(error)
        except Exception as error:
            log.exception("polling a control plane failed", peer=peer.announcement.xds)
            return f"its part cannot be read: {type(error).__name__}"
        return ""

    async def _renew(self, peer: _Member) -> None:
        """Use the own certificate that is in use now."""
        credentials = self._credentials()
        if credentials != peer.client.credentials:
            old, peer.client = peer.client, PeerConnection(peer.id, peer.announcement.xds, credentials)
            await old.close()

    async def _one(self, id: str, method: str, request: bytes, within: float) -> bytes | None:
        try:
            return await self.call(id, method, request, timeout_seconds=within)
        except PeerError as error:
            log.debug("no answer", peer=id, reason=str(error))
            return None

    def _count(self) -> None:
        metrics.PEERS.set(len(self._peers))
        metrics.REACHABLE.set(len(self.reachable()))


async def _greet(_id: str, ask: CallPeer) -> None:
    """The poll before there is another: whether it answers."""
    await ask("Hello", b"")


async def _hello(_request: bytes) -> bytes:
    return b""


def _read(told: Mapping[str, str]) -> Iterator[tuple[str, Announcement]]:
    """Announcements that can be read, in a fixed order; others are of no use."""
    for id, text in sorted(told.items()):
        with contextlib.suppress(ValidationError):
            yield id, Announcement.model_validate_json(text)


def _log_change(peer: _Member, trouble: str) -> None:
    if trouble:
        log.warning("control plane does not answer", peer=peer.announcement.xds, reason=trouble)
    else:
        log.info("control plane answers", peer=peer.announcement.xds)


def _status(peer: _Member, now: float) -> ControlPlaneStatus:
    return ControlPlaneStatus(
        address=peer.announcement.xds,
        admin=peer.announcement.admin,
        state="silent" if peer.error else "answers",
        unreachable_seconds=round(now - peer.last_response, 1) if peer.error else 0.0,
        error=peer.error,
    )
