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

from control_plane.api.types import Message, PlaneStatus
from control_plane.errors import StoreError
from control_plane.mtls.server import Credentials
from control_plane.peers import metrics
from control_plane.peers.client import PeerClient, PeerError
from control_plane.peers.server import Answer, PlaneService

ANNOUNCE_EVERY = 2.0
"""Seconds between two announcements: a third of their life."""

POLL_EVERY = 1.0
"""Seconds between two polls of a peer: as often as sidecars tell."""

WITHIN = 1.0
"""Seconds that a peer has for an answer."""

SILENT = 5.0
"""Seconds without an answer after which a peer is no longer part of the picture."""

PEERS_LIMIT = 16
"""Peers that are asked; more control planes than that know a part of the mesh only."""

log = structlog.get_logger(__name__)

Ask = Callable[[str, bytes], Awaitable[bytes]]
"""Asks one peer: method and request. Raises PeerError."""

Poll = Callable[[str, Ask], Awaitable[None]]
"""Takes a peer's part: its id, and how to ask it. Raises PeerError."""


class Announcement(Message):
    """Where a control plane answers: `xds` is host:port, `admin` a URL."""

    xds: str = Field(max_length=300)
    admin: str = Field("", max_length=300)


class Planes(Protocol):
    """The store's part. Both raise StoreError when the store is away."""

    async def announce(self, id: str, text: str) -> Mapping[str, str]:
        """Keep `text` for a life more, and give what all others announced, by their id."""

    async def withdraw(self, id: str) -> None:
        """Take the announcement back."""


@dataclass(slots=True)
class _Peer:
    """One peer. `heard`: when it answered last, by the monotonic clock; `trouble`: why it does not now."""

    id: str
    told: Announcement
    client: PeerClient
    heard: float
    trouble: str = "it has not answered yet"
    task: asyncio.Task[None] | None = None


class Peers:
    """All other control planes. `credentials` gives the own certificate in use; it is asked before each poll.

    `poll` takes a peer's part of the picture; `lost` is told the id of one that is no longer in it.
    `came_first`: nobody else was there when this one announced itself.
    """

    def __init__(self, planes: Planes, credentials: Callable[[], Credentials], trust_domain: str) -> None:
        self.id = secrets.token_hex(8)
        self._planes = planes
        self._credentials = credentials
        self._answers: dict[str, Answer] = {"Hello": _hello}
        self._service = PlaneService(self.id, trust_domain, self._answers)
        self._peers: dict[str, _Peer] = {}
        self._own = Announcement(xds="")
        self._announced = False
        self.came_first = False
        self.poll: Poll = _greet
        self.lost: Callable[[str], None] = lambda _id: None

    # --- for those that have something to ask -------------------------------------------------------

    def answers(self, method: str, answer: Answer) -> None:
        """Serve a method to peers: request bytes in, answer bytes out; a MeshError is a missing answer."""
        self._answers[method] = answer

    async def everyone(self, method: str, request: bytes = b"", *, within: float = WITHIN) -> list[bytes]:
        """The answers of all peers that give one within these seconds; nothing is raised."""
        asked = self.answering()
        found = await asyncio.gather(*(self._one(id, method, request, within) for id in asked))
        return [one for one in found if one is not None]

    async def ask(self, id: str, method: str, request: bytes = b"", *, within: float = WITHIN) -> bytes:
        """The answer of one peer; raises PeerError."""
        peer = self._peers.get(id)
        if peer is None:
            raise PeerError("gone", f"control plane {id} is gone")
        try:
            return await peer.client.ask(method, request, within)
        except PeerError as error:
            if error.reason != "not_found":
                metrics.FAILURES.labels(error.reason).inc()
            raise

    def answering(self) -> tuple[str, ...]:
        """The ids of the peers that answered their last poll."""
        return tuple(one.id for one in self._peers.values() if not one.trouble)

    def service(self) -> PlaneService:
        """What to add to the xDS port's server."""
        return self._service

    def statuses(self) -> tuple[PlaneStatus, ...]:
        """This control plane and all others, by address; none when there are no others."""
        if not self._peers:
            return ()
        now = time.monotonic()
        own = PlaneStatus(address=self._own.xds, admin=self._own.admin, state="this")
        return (
            own,
            *sorted((_status(one, now) for one in self._peers.values()), key=lambda one: one.address),
        )

    def admins(self) -> tuple[str, ...]:
        """`host:port` of the admin API of this control plane and of all others."""
        known = (self._own.admin, *(one.told.admin for one in self._peers.values()))
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
                        self._announced, self.came_first = True, not told
                    await self._know(dict(_read(told)))
                await asyncio.sleep(ANNOUNCE_EVERY)
        finally:
            for peer in tuple(self._peers.values()):
                await self._forget(peer)
            with contextlib.suppress(StoreError):
                await self._planes.withdraw(self.id)

    async def _know(self, told: Mapping[str, Announcement]) -> None:
        """Follow those that are new; forget those that are gone and no longer answer."""
        for peer in tuple(self._peers.values()):
            moved = told.get(peer.id, peer.told) != peer.told
            if moved or (peer.id not in told and peer.trouble):
                await self._forget(peer)
        for id, where in told.items():
            if id in self._peers or len(self._peers) >= PEERS_LIMIT:
                continue
            client = PeerClient(id, where.xds, self._credentials())
            peer = _Peer(id, where, client, time.monotonic())
            peer.task = asyncio.create_task(self._follow(peer))
            self._peers[id] = peer
            log.info("control plane found", peer=where.xds)
        self._count()

    async def _forget(self, peer: _Peer) -> None:
        del self._peers[peer.id]
        if peer.task is not None:
            peer.task.cancel()
            await asyncio.gather(peer.task, return_exceptions=True)
        await peer.client.close()
        self.lost(peer.id)
        self._count()
        log.info("control plane gone", peer=peer.told.xds)

    async def _follow(self, peer: _Peer) -> None:
        """Poll a peer for ever, whatever comes of it."""
        told_lost = False
        while True:
            begun = time.monotonic()
            trouble = await self._polled(peer)
            if bool(trouble) != bool(peer.trouble):
                _log_change(peer, trouble)
            peer.trouble = trouble
            if not trouble:
                peer.heard, told_lost = time.monotonic(), False
            elif not told_lost and time.monotonic() - peer.heard >= SILENT:
                told_lost = True
                self.lost(peer.id)
            self._count()
            await asyncio.sleep(max(0.1, POLL_EVERY - (time.monotonic() - begun)))

    async def _polled(self, peer: _Peer) -> str:
        """Poll once; why that failed, empty when it did not."""
        try:
            await self._renew(peer)
            await self.poll(peer.id, lambda method, request: self.ask(peer.id, method, request))
        except PeerError as error:
            return str(error)
        except Exception as error:
            log.exception("polling a control plane failed", peer=peer.told.xds)
            return f"its part cannot be read: {type(error).__name__}"
        return ""

    async def _renew(self, peer: _Peer) -> None:
        """Use the own certificate that is in use now."""
        credentials = self._credentials()
        if credentials != peer.client.credentials:
            old, peer.client = peer.client, PeerClient(peer.id, peer.told.xds, credentials)
            await old.close()

    async def _one(self, id: str, method: str, request: bytes, within: float) -> bytes | None:
        try:
            return await self.ask(id, method, request, within=within)
        except PeerError as error:
            log.debug("no answer", peer=id, reason=str(error))
            return None

    def _count(self) -> None:
        metrics.KNOWN.set(len(self._peers))
        metrics.ANSWERING.set(len(self.answering()))


async def _greet(_id: str, ask: Ask) -> None:
    """The poll before there is another: whether it answers."""
    await ask("Hello", b"")


async def _hello(_request: bytes) -> bytes:
    return b""


def _read(told: Mapping[str, str]) -> Iterator[tuple[str, Announcement]]:
    """Announcements that can be read, in a fixed order; others are of no use."""
    for id, text in sorted(told.items()):
        with contextlib.suppress(ValidationError):
            yield id, Announcement.model_validate_json(text)


def _log_change(peer: _Peer, trouble: str) -> None:
    if trouble:
        log.warning("control plane does not answer", peer=peer.told.xds, reason=trouble)
    else:
        log.info("control plane answers", peer=peer.told.xds)


def _status(peer: _Peer, now: float) -> PlaneStatus:
    return PlaneStatus(
        address=peer.told.xds,
        admin=peer.told.admin,
        state="silent" if peer.trouble else "answers",
        silent=round(now - peer.heard, 1) if peer.trouble else 0.0,
        trouble=peer.trouble,
    )
