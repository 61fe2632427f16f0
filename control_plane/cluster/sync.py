"""The picture of all control planes: each peer is polled for its part, and asked for its own in turn.

What came to a peer by telemetry is folded here as if it had come here; all else is kept beside the own. Only
what a control plane sees itself is told, never what it heard from a peer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import ValidationError

from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.cluster import history_handover, wire
from meshwright.control_plane.cluster.connection import PeerError
from meshwright.control_plane.cluster.frames import FrameError
from meshwright.control_plane.cluster.members import CallPeer, Members
from meshwright.control_plane.cluster.remote_state import ProxyKey, RemoteState
from meshwright.control_plane.cluster.wire import ReportHeader, ReportRequest, WireError
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.status.conditions import RolloutCount
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows

STATE_METHOD, HISTORY_METHOD = "Part", "Past"
"""What peers are asked for: every second, and once by one that is new."""

MAX_HANDOVER_ATTEMPTS = 3
"""Questions for the past until one goes on without."""

FOLD_WAIT_MS = 1000
"""Milliseconds that a fold that is under way has to be done."""

ITEMS_PER_SLICE = 16
"""Lines that are written or read at a time: about half a millisecond."""

ROLLOUT_CACHE_SECONDS = 0.2
"""Seconds for which what was asked for is not asked for again, however many look at the status."""

MAX_PAGES_PER_POLL = 20
"""Answers of one poll: with what one holds, more than a peer's journal has."""


class ConnectedProxies(Protocol):
    """The proxies that are connected here (xds.push_queue.PushQueue)."""

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """All of them, the disconnected ones of the last minute among them."""

    def in_flight(self) -> dict[ProxyKey, int]:
        """Responses without an answer, by service and name."""

    def rejection_texts(self) -> dict[ProxyKey, str]:
        """What connected ones refuse; empty for those that take everything."""

    def rollout_counts(self) -> Mapping[str, RolloutCount]:
        """How each policy fares at those that are connected."""


@dataclass(frozen=True, slots=True)
class LocalState:
    """What this control plane sees itself. `problems`: what failed inside, in words."""

    streams: ConnectedProxies
    reports: ProxyReports
    flows: TrafficWindows
    problems: Callable[[], tuple[str, ...]]


@dataclass(slots=True)
class _Handover:
    """Whether the histories of the time before this start are here (`known`), or not to be had.

    `until`: the number of the last flush in them, by the id of the control plane that it came to.
    """

    known: bool = False
    asking: bool = False
    tries: int = 0
    until: Mapping[str, int] = field(default_factory=dict)


class StateSync:
    """The whole picture. `now` is the clock of folds and reports, `pause` sleeps for seconds."""

    def __init__(
        self,
        own: LocalState,
        peers: Members,
        trust_domain: str,
        now: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._own = own
        self._peers = peers
        self._trust_domain = trust_domain
        self._now = now
        self._pause = pause
        self._foreign = RemoteState()
        self._marks: dict[str, int] = {}
        self._asked = float("-inf")
        self._moved: frozenset[ProxyKey] = frozenset()
        self._past = _Handover()
        peers.register_method(STATE_METHOD, self._answer)
        peers.register_method(HISTORY_METHOD, self._answer_past)
        peers.on_poll, peers.on_lost = self._poll, self._lose

    # --- the picture ------------------------------------------------------------------------------

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """Every proxy of the mesh."""
        return self._foreign.proxies(self._own.streams.proxies())

    def pending(self) -> Mapping[ProxyKey, int]:
        """Unanswered responses of each connected proxy."""
        return self._foreign.pending(self._own.streams.in_flight())

    def reports(self) -> tuple[ProxyReport, ...]:
        """What every proxy's agent reported last."""
        now = self._now()
        return self._foreign.reports(self._own.reports.with_age(now), now)

    def rejections(self) -> Mapping[ProxyKey, str]:
        """What the proxies that are connected here refuse, and those that were and now are elsewhere."""
        here, elsewhere = self._own.streams.rejection_texts(), self._foreign.rejections()
        left = {(one.service, one.name) for one in self._own.streams.proxies()} | self._moved
        self._moved = frozenset(key for key in left if key in elsewhere and key not in here)
        return {**{key: elsewhere[key] for key in self._moved}, **here}

    def problems(self) -> tuple[str, ...]:
        """What failed inside any control plane, each in words once."""
        return tuple(dict.fromkeys((*self._own.problems(), *self._foreign.problems())))

    async def rollouts(self) -> Mapping[str, RolloutCount]:
        """How each policy fares everywhere; proxies and revisions are then as fresh."""
        now = self._now()
        if now - self._asked >= ROLLOUT_CACHE_SECONDS and self._peers.reachable():
            self._asked = now
            wanted = ReportRequest(deliveries=True).model_dump_json().encode()
            for answer in await self._peers.broadcast(STATE_METHOD, wanted):
                with contextlib.suppress(WireError):
                    await self._take(answer)
        return self._foreign.rollouts(self._own.streams.rollout_counts())

    # --- asking -----------------------------------------------------------------------------------

    async def _poll(self, id: str, ask: CallPeer) -> None:
        await self._learn(ask)
        for _ in range(MAX_PAGES_PER_POLL):
            since = self._marks.get(id, 0) if self._knows_past() else None
            wanted = ReportRequest(since=since, reports=True)
            answer = await ask(STATE_METHOD, wanted.model_dump_json().encode())
            try:
                head = await self._take(answer)
            except WireError as error:
                raise PeerError("unreadable", f"its part cannot be read: {error}") from None
            if not head.more:
                return

    async def _take(self, answer: bytes) -> ReportHeader:
        """Read a peer's part and make it part of the picture; raises PartError.

        The mark goes with each flush: whoever is cancelled in between goes on where it was.
        """
        part, lines = wire.begin(answer)
        for step, line in enumerate(lines, 1):
            wire.take(part, line, self._trust_domain)
            if step % ITEMS_PER_SLICE == 0:
                await self._pause(0)
        now = self._now()
        self._foreign.update(part, now)
        for number, (age, told) in enumerate(part.flushes, part.header.last - len(part.flushes) + 1):
            remember = number > self._past.until.get(part.header.id, 0)
            for _ in self._own.flows.ingest(told, now - age, record_history=remember):
                pass
            self._marks[part.header.id] = number
            await self._pause(0)
        if part.header.flushes:
            self._marks[part.header.id] = part.header.last
        return part.header

    def _lose(self, id: str) -> None:
        self._foreign.remove(id)
        if not self._peers.reachable():
            self._past.known = True

    # --- the time before ----------------------------------------------------------------------------

    def _knows_past(self) -> bool:
        """Whether histories may be added to, and told: before that, nobody can say what is in them."""
        return self._past.known or self._peers.is_first

    async def _learn(self, ask: CallPeer) -> None:
        """Take over the histories of the first peer that has some, once."""
        if self._knows_past() or self._past.asking:
            return
        self._past.asking = True
        try:
            answer = await ask(HISTORY_METHOD, b"")
            self._past.until, histories = history_handover.read(answer)
            self._past.known = True
            for label, body in histories:
                self._own.flows.history.merge(label, body, self._now())
                await self._pause(0)
        except (PeerError, FrameError, ValueError) as error:
            self._past.tries += 1
            as_new = isinstance(error, PeerError) and error.reason == "not_found"
            if as_new or self._past.tries >= MAX_HANDOVER_ATTEMPTS:
                self._past.known = True
        finally:
            self._past.asking = False

    async def _answer_past(self, _request: bytes) -> bytes:
        if not self._knows_past():
            raise NotFoundError("this control plane is new too")
        flows = self._own.flows
        for _ in range(FOLD_WAIT_MS):
            if not flows.in_progress:
                break
            await self._pause(0.001)
        now = self._now()
        flows.replication_log.since(flows.replication_log.last_sequence, now)
        marks = {id: max(mark, self._marks.get(id, 0)) for id, mark in self._past.until.items()}
        return history_handover.write(
            flows.history, {**self._marks, **marks, self._peers.id: flows.replication_log.last_sequence}, now
        )

    # --- answering --------------------------------------------------------------------------------

    async def _answer(self, request: bytes) -> bytes:
        try:
            wanted = ReportRequest.model_validate_json(request)
        except ValidationError:
            raise InputError("Part: not understood") from None
        since = wanted.since if self._knows_past() else None
        flushes, last, more = self._flushes(since)
        head = ReportHeader(
            id=self._peers.id,
            problems=self._own.problems(),
            last=last,
            more=more,
            reports=wanted.reports,
            deliveries=wanted.deliveries,
            flushes=since is not None,
        )
        written = ["H" + head.model_dump_json()]
        for step, line in enumerate(self._lines(wanted), 1):
            written.append(line)
            if step % ITEMS_PER_SLICE == 0:
                await self._pause(0)
        return "\n".join([*written, *flushes]).encode()

    def _lines(self, wanted: ReportRequest) -> Iterator[str]:
        own = self._own
        yield from wire.write_proxies(own.streams.proxies(), own.streams.in_flight())
        if wanted.reports:
            yield from wire.write_reports(own.reports, self._now())
        if wanted.deliveries:
            yield from wire.write_deliveries(own.streams.rollout_counts())

    def _flushes(self, since: int | None) -> tuple[list[str], int, bool]:
        """Lines of flushes after a number, the number of the last of them, and whether there are more."""
        if since is None:
            return [], 0, False
        journal, now = self._own.flows.replication_log, self._now()
        entries = journal.since(since, now)
        lines: list[str] = []
        size = 0
        for entry in entries:
            if size >= wire.MAX_FLUSH_BYTES:
                return lines, entry.sequence - 1, True
            lines.append(wire.write_flush(now - entry.received_at, entry.item))
            size += len(lines[-1])
        return lines, journal.last_sequence, False
