"""The picture of all control planes: each peer is polled for its part, and asked for its own in turn.

What came to a peer by telemetry is folded here as if it had come here; all else is kept beside the own. Only
what a control plane sees itself is told, never what it heard from a peer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from control_plane.agents.reports import Reports
from control_plane.api.types import ProxyReport, ProxyStatus
from control_plane.core.conditions import Delivery
from control_plane.errors import InputError
from control_plane.peers import parts
from control_plane.peers.app import Ask, Peers
from control_plane.peers.client import PeerError
from control_plane.peers.foreign import Foreign, Key
from control_plane.peers.parts import Head, PartError, Wanted
from control_plane.telemetry.flows import Flows

METHOD = "Part"

LINES = 16
"""Lines that are written or read at a time: about half a millisecond."""

FRESH = 0.2
"""Seconds for which what was asked for is not asked for again, however many look at the status."""

ROUNDS = 20
"""Answers of one poll: with what one holds, more than a peer's journal has."""


class Streams(Protocol):
    """The proxies that are connected here (xds.push_queue.PushQueue)."""

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """All of them, the disconnected ones of the last minute among them."""

    def pending(self) -> dict[Key, int]:
        """Responses without an answer, by service and name."""

    def refusals(self) -> dict[Key, str]:
        """What connected ones refuse; empty for those that take everything."""

    def deliveries(self) -> Mapping[str, Delivery]:
        """How each policy fares at those that are connected."""


@dataclass(frozen=True, slots=True)
class Own:
    """What this control plane sees itself. `problems`: what failed inside, in words."""

    streams: Streams
    reports: Reports
    flows: Flows
    problems: Callable[[], tuple[str, ...]]


class Sharing:
    """The whole picture. `now` is the clock of folds and reports, `pause` sleeps for seconds."""

    def __init__(
        self,
        own: Own,
        peers: Peers,
        trust_domain: str,
        now: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._own = own
        self._peers = peers
        self._trust_domain = trust_domain
        self._now = now
        self._pause = pause
        self._foreign = Foreign()
        self._marks: dict[str, int] = {}
        self._asked = float("-inf")
        self._moved: frozenset[Key] = frozenset()
        peers.answers(METHOD, self._answer)
        peers.poll, peers.lost = self._poll, self._foreign.lose

    # --- the picture ------------------------------------------------------------------------------

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """Every proxy of the mesh."""
        return self._foreign.proxies(self._own.streams.proxies())

    def pending(self) -> Mapping[Key, int]:
        """Unanswered responses of each connected proxy."""
        return self._foreign.pending(self._own.streams.pending())

    def reports(self) -> tuple[ProxyReport, ...]:
        """What every proxy's agent reported last."""
        now = self._now()
        return self._foreign.reports(self._own.reports.aged(now), now)

    def refusals(self) -> Mapping[Key, str]:
        """What the proxies that are connected here refuse, and those that were and now are elsewhere."""
        here, elsewhere = self._own.streams.refusals(), self._foreign.refusals()
        left = {(one.service, one.name) for one in self._own.streams.proxies()} | self._moved
        self._moved = frozenset(key for key in left if key in elsewhere and key not in here)
        return {**{key: elsewhere[key] for key in self._moved}, **here}

    def problems(self) -> tuple[str, ...]:
        """What failed inside any control plane, each in words once."""
        return tuple(dict.fromkeys((*self._own.problems(), *self._foreign.problems())))

    async def deliveries(self) -> Mapping[str, Delivery]:
        """How each policy fares everywhere; proxies and revisions are then as fresh."""
        now = self._now()
        if now - self._asked >= FRESH and self._peers.answering():
            self._asked = now
            wanted = Wanted(deliveries=True).model_dump_json().encode()
            for answer in await self._peers.everyone(METHOD, wanted):
                with contextlib.suppress(PartError):
                    await self._take(answer)
        return self._foreign.deliveries(self._own.streams.deliveries())

    # --- asking -----------------------------------------------------------------------------------

    async def _poll(self, id: str, ask: Ask) -> None:
        for _ in range(ROUNDS):
            wanted = Wanted(since=self._marks.get(id, -1), reports=True)
            answer = await ask(METHOD, wanted.model_dump_json().encode())
            try:
                head = await self._take(answer)
            except PartError as error:
                raise PeerError("unreadable", f"its part cannot be read: {error}") from None
            if not head.more:
                return

    async def _take(self, answer: bytes) -> Head:
        """Read a peer's part and make it part of the picture; raises PartError.

        The mark goes with each flush: whoever is cancelled in between goes on where it was.
        """
        part, lines = parts.begin(answer)
        for step, line in enumerate(lines, 1):
            parts.take(part, line, self._trust_domain)
            if step % LINES == 0:
                await self._pause(0)
        now = self._now()
        self._foreign.take(part, now)
        for number, (age, told) in enumerate(part.flushes, part.head.last - len(part.flushes) + 1):
            for _ in self._own.flows.keep(told, now - age):
                pass
            self._marks[part.head.id] = number
            await self._pause(0)
        if part.head.flushes:
            self._marks[part.head.id] = part.head.last
        return part.head

    # --- answering --------------------------------------------------------------------------------

    async def _answer(self, request: bytes) -> bytes:
        try:
            wanted = Wanted.model_validate_json(request)
        except ValidationError:
            raise InputError("Part: not understood") from None
        flushes, last, more = self._flushes(wanted.since)
        head = Head(
            id=self._peers.id,
            problems=self._own.problems(),
            last=last,
            more=more,
            reports=wanted.reports,
            deliveries=wanted.deliveries,
            flushes=wanted.since is not None,
        )
        written = ["H" + head.model_dump_json()]
        for step, line in enumerate(self._lines(wanted), 1):
            written.append(line)
            if step % LINES == 0:
                await self._pause(0)
        return "\n".join([*written, *flushes]).encode()

    def _lines(self, wanted: Wanted) -> Iterator[str]:
        own = self._own
        yield from parts.write_proxies(own.streams.proxies(), own.streams.pending())
        if wanted.reports:
            yield from parts.write_reports(own.reports, self._now())
        if wanted.deliveries:
            yield from parts.write_deliveries(own.streams.deliveries())

    def _flushes(self, since: int | None) -> tuple[list[str], int, bool]:
        """Lines of flushes after a number, the number of the last of them, and whether there are more."""
        if since is None:
            return [], 0, False
        journal, now = self._own.flows.journal, self._now()
        entries = journal.since(since if since >= 0 else journal.last, now)
        lines: list[str] = []
        size = 0
        for entry in entries:
            if size >= parts.FLUSHES_SIZE:
                return lines, entry.number - 1, True
            lines.append(parts.write_flush(now - entry.came, entry.what))
            size += len(lines[-1])
        return lines, journal.last, False
