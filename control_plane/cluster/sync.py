"""The state of the whole mesh: each peer is polled for its state and serves as much in return.

Metrics that were sent to a peer are ingested as if they had been sent here; all other state is kept per peer.
Only what a control plane sees itself is reported, never what it learned from a peer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster import wire
from meshwright.control_plane.cluster.history_handover import ClusterMembers, HistoryHandover
from meshwright.control_plane.cluster.methods import GET_STATE
from meshwright.control_plane.cluster.peer_client import PeerError
from meshwright.control_plane.cluster.remote_state import ProxyKey, RemoteState
from meshwright.control_plane.cluster.wire import PeerState, WireError
from meshwright.control_plane.slices import in_slices
from meshwright.control_plane.status.acks import AckCount, ProxyHoldings, count_acks
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows

MAX_FLUSH_BYTES = 2 * 1024 * 1024
"""Flushes in one response; the next call returns the rest."""

MAX_PAGES_PER_POLL = 20
"""More flushes than a peer's replication log holds."""

ACK_COUNT_CACHE_SECONDS = 0.2
"""How long ACK counts of peers are reused, however many clients read the status."""


class ConnectedProxies(Protocol):
    """The proxies that are connected here (xds.push_queue.PushQueue)."""

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """All of them, and those that disconnected within the last minute."""

    def in_flight(self) -> dict[ProxyKey, int]:
        """Unacknowledged responses, by service and name."""

    def rejection_texts(self) -> dict[ProxyKey, str]:
        """What connected proxies reject; "" for those that accept everything."""

    def resource_states(self) -> Iterable[ProxyHoldings]:
        """What each connected proxy holds."""


class SyncedMembers(ClusterMembers, Protocol):
    """The other control planes, with hooks into their polling (members.Members)."""

    id: str
    on_poll: Callable[[str], Awaitable[None]]
    on_lost: Callable[[str], None]

    def address(self, id: str) -> str:
        """The address of this control plane or a peer, for messages."""


@dataclass(frozen=True, slots=True)
class LocalState:
    """What this control plane sees itself. `problems` returns internal failures, in words."""

    streams: ConnectedProxies
    reports: ProxyReports
    windows: TrafficWindows
    problems: Callable[[], tuple[str, ...]]


class StateSync:
    """The state of the whole mesh. `now` is the clock of metrics and reports, `sleep` sleeps for seconds."""

    def __init__(
        self,
        local: LocalState,
        members: SyncedMembers,
        trust_domain: str,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._local = local
        self._members = members
        self._trust_domain = trust_domain
        self._now = now
        self._sleep = sleep
        self._remote = RemoteState()
        self._applied: dict[str, int] = {}
        self._history = HistoryHandover(local.windows, members, self._applied, now, sleep)
        self._ack_counts_read_at = float("-inf")
        self._moved: frozenset[ProxyKey] = frozenset()
        members.register_method(GET_STATE, self._serve)
        members.on_poll, members.on_lost = self._poll, self._on_lost

    # --- the whole mesh -------------------------------------------------------------------------------

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """Every proxy of the mesh."""
        return self._remote.proxies(self._local.streams.proxies())

    def in_flight(self) -> Mapping[ProxyKey, int]:
        """Unacknowledged responses of each connected proxy."""
        return self._remote.in_flight(self._local.streams.in_flight())

    def reports(self) -> tuple[ProxyReport, ...]:
        """The latest report of every proxy's agent."""
        now = self._now()
        return self._remote.reports(self._local.reports.with_age(now), now)

    def rejection_texts(self) -> Mapping[ProxyKey, str]:
        """What the proxies connected here reject, and those that were and are now connected to a peer."""
        here, elsewhere = self._local.streams.rejection_texts(), self._remote.rejection_texts()
        recent = {(proxy.service, proxy.name) for proxy in self._local.streams.proxies()} | self._moved
        self._moved = frozenset(key for key in recent if key in elsewhere and key not in here)
        return {**{key: elsewhere[key] for key in self._moved}, **here}

    def problems(self) -> tuple[str, ...]:
        """Internal failures of all control planes, each once. One that not all have says which have it."""
        by_member = {self._members.id: self._local.problems(), **self._remote.problems()}
        members: dict[str, list[str]] = {}
        for id, problems in by_member.items():
            for problem in dict.fromkeys(problems):
                members.setdefault(problem, []).append(self._members.address(id))
        return tuple(
            problem if len(addresses) == len(by_member) else f"{problem} (at {', '.join(sorted(addresses))})"
            for problem, addresses in members.items()
        )

    async def ack_counts(self) -> Mapping[str, AckCount]:
        """The ACK counts of each policy over the whole mesh. Refreshes the proxies of peers too."""
        await self.refresh()
        return self._remote.ack_counts(count_acks(self._local.streams.resource_states()))

    async def refresh(self) -> None:
        """Read the proxies of peers, unless that was done within ACK_COUNT_CACHE_SECONDS."""
        now = self._now()
        if now - self._ack_counts_read_at >= ACK_COUNT_CACHE_SECONDS and self._members.reachable():
            self._ack_counts_read_at = now
            for report in await self._members.broadcast(GET_STATE, pb.StateRequest(ack_counts=True)):
                with contextlib.suppress(WireError):
                    await self._apply(report)

    # --- reading from peers ---------------------------------------------------------------------------

    async def _poll(self, id: str) -> None:
        await self._history.fetch(id)
        for _ in range(MAX_PAGES_PER_POLL):
            since = self._applied.get(id, 0) if self._history.complete else None
            report = await self._members.call(
                id, GET_STATE, pb.StateRequest(flushes_since=since, reports=True)
            )
            try:
                state = await self._apply(report)
            except WireError as error:
                raise PeerError("unreadable", f"its state cannot be read: {error}") from None
            if not state.more:
                return

    async def _apply(self, report: pb.StateReport) -> PeerState:
        """Make a peer's state part of the mesh's; raises WireError.

        The sequence number is advanced with each flush: a cancelled poll is continued where it stopped.
        """
        state = await in_slices(wire.parse_state(report, self._trust_domain))
        now = self._now()
        self._remote.update(state, now)
        if state.flushes is None:
            return state
        id = state.member_id
        for sequence, (age, flush) in enumerate(state.flushes, state.last_sequence - len(state.flushes) + 1):
            record = not self._history.contains(id, sequence)
            for _ in self._local.windows.ingest(flush, now - age, record_history=record):
                pass
            self._applied[id] = sequence
            await self._sleep(0)
        self._applied[id] = state.last_sequence
        return state

    def _on_lost(self, id: str) -> None:
        self._remote.remove(id)
        if not self._members.reachable():
            self._history.give_up()

    # --- serving peers --------------------------------------------------------------------------------

    async def _serve(self, request: pb.StateRequest) -> pb.StateReport:
        report = pb.StateReport(member_id=self._members.id, problems=self._local.problems())
        await in_slices(self._build(report, request))
        return report

    def _build(self, report: pb.StateReport, request: pb.StateRequest) -> Generator[None, None, None]:
        """Fill the lists of a report, one item per step."""
        if request.HasField("flushes_since") and self._history.complete:
            yield from self._write_flushes(report.flushes, request.flushes_since)
        in_flight = self._local.streams.in_flight()
        for status in self._local.streams.proxies():
            report.proxies.append(
                wire.proxy_to_proto(status, in_flight.get((status.service, status.name), 0))
            )
            yield
        if request.reports:
            report.reports.SetInParent()
            for age, proxy_report in self._local.reports.with_age(self._now()):
                report.reports.reports.append(wire.report_to_proto(age, proxy_report))
                yield
        if request.ack_counts:
            report.ack_counts.MergeFrom(
                wire.ack_counts_to_proto(count_acks(self._local.streams.resource_states()))
            )

    def _write_flushes(self, page: pb.FlushPage, since: int) -> Generator[None, None, None]:
        """Flushes after this sequence number, up to MAX_FLUSH_BYTES."""
        log, now = self._local.windows.replication_log, self._now()
        entries, size = log.since(since, now), 0
        page.SetInParent()
        page.last_sequence = log.last_sequence
        for entry in entries:
            if size >= MAX_FLUSH_BYTES:
                page.last_sequence, page.more = entry.sequence - 1, True
                return
            flush = page.flushes.add()
            wire.write_flush(flush, now - entry.received_at, entry.item)
            size += flush.ByteSize()
            yield
