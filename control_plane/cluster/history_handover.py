"""Traffic history for a control plane that has just started: it takes over the history of a peer, once.

A peer's history contains what sidecars sent to it and what it read from others. With it come the sequence
numbers of the last flush that it contains, by the member that the flush was sent to. So whoever takes it over
knows which flushes are already in it, and counts none twice and misses none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import GET_HISTORY
from meshwright.control_plane.cluster.peer_client import PeerClient, PeerError
from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.telemetry.topology.history_store import HistoryStore, SeriesKey
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows

MAX_SERIES = 400
"""Series in a response, the most recently updated ones: 14 kB each."""

MAX_ATTEMPTS = 3
"""Failed calls after which a control plane starts without the history of others."""

INGEST_WAIT_MS = 1000
"""How long a response waits for a flush that is being ingested."""


class ClusterMembers(PeerClient, Protocol):
    """The other control planes, and whether there were any at the start."""

    is_first: bool


class HistoryHandover:
    """Fetches and serves histories. `applied`: sequence number of the last flush read, by member.

    `now` is the clock of `windows`, `sleep` sleeps for seconds.
    """

    def __init__(
        self,
        windows: TrafficWindows,
        members: ClusterMembers,
        applied: Mapping[str, int],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._windows = windows
        self._members = members
        self._applied = applied
        self._now = now
        self._sleep = sleep
        self._done = False
        self._fetching = False
        self._attempts = 0
        self._contained: Mapping[str, int] = {}
        members.register_method(GET_HISTORY, self._serve)

    @property
    def complete(self) -> bool:
        """Whether flushes may be added to the history. Before that, nobody knows which ones it contains."""
        return self._done or self._members.is_first

    def contains(self, member_id: str, sequence: int) -> bool:
        """Whether the history that was taken over contains this flush of a member."""
        return sequence <= self._contained.get(member_id, 0)

    def give_up(self) -> None:
        """Start without the history of others."""
        self._done = True

    async def fetch(self, id: str) -> None:
        """Take over the history of this peer, unless that is done or in progress."""
        if self.complete or self._fetching:
            return
        self._fetching = True
        try:
            response = await self._members.call(id, GET_HISTORY, pb.HistoryRequest())
            self._contained = dict(response.sequences)
            self._done = True
            for series in response.series:
                _merge(self._windows.history, series, self._now())
                await self._sleep(0)
        except (PeerError, ValueError) as error:
            self._attempts += 1
            peer_is_new = isinstance(error, PeerError) and error.reason == "not_found"
            if peer_is_new or self._attempts >= MAX_ATTEMPTS:
                self._done = True
        finally:
            self._fetching = False

    async def _serve(self, _request: pb.HistoryRequest) -> pb.HistoryResponse:
        if not self.complete:
            raise NotFoundError("this control plane has just started too")
        for _ in range(INGEST_WAIT_MS):
            if not self._windows.in_progress:
                break
            await self._sleep(0.001)
        now = self._now()
        log = self._windows.replication_log
        log.since(log.last_sequence, now)  # keeps the log alive until the first poll
        applied = dict(self._applied)
        for id, sequence in self._contained.items():
            applied[id] = max(sequence, applied.get(id, 0))
        response = pb.HistoryResponse(sequences={**applied, self._members.id: log.last_sequence})
        for key, points in self._windows.history.serialize(now, MAX_SERIES):
            response.series.add(**key._asdict(), points=points)
        return response


def _merge(history: HistoryStore, series: pb.Series, now: float) -> None:
    key = SeriesKey(series.kind, series.caller, series.cluster, series.idle_seconds, series.age)
    history.merge(key, series.points, now)
