"""The parts of all peers as they were told last, put together with the own one. Pure.

The result is the same whoever puts it together: what two control planes tell of one proxy is decided by what
they tell, not by who they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.agents.reports import REPORT_TTL
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyState, ProxyStatus
from meshwright.control_plane.cluster.wire import RemoteProxy, StateReport
from meshwright.control_plane.status.conditions import RolloutCount

ProxyKey = tuple[str, str]
"""Service and name of a proxy."""

_RANK: dict[ProxyState, int] = {"disconnected": 0, "rejected": 1, "pending": 2, "synced": 3}
# Of two streams of one proxy a connected one counts, and of two such the one that is further.


@dataclass(slots=True)
class _PeerState:
    """`came`: when its reports were told, by the own clock."""

    proxies: list[RemoteProxy] = field(default_factory=list)
    reports: list[tuple[float, ProxyReport]] = field(default_factory=list)
    received_at: float = 0.0
    deliveries: Mapping[str, RolloutCount] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class RemoteState:
    """What peers told, by their id. `now` is any clock that only goes forward, in seconds."""

    def __init__(self) -> None:
        self._peers: dict[str, _PeerState] = {}

    def update(self, part: StateReport, now: float) -> None:
        """Keep a peer's part in place of the last; of lists that it does not have, the last ones stay."""
        known = self._peers.setdefault(part.header.id, _PeerState())
        known.proxies, known.problems = part.proxies, part.header.problems
        if part.header.reports:
            known.reports, known.received_at = part.reports, now
        if part.header.deliveries:
            known.deliveries = part.deliveries

    def remove(self, id: str) -> None:
        """Forget a peer's part."""
        self._peers.pop(id, None)

    def proxies(self, own: Iterable[ProxyStatus]) -> tuple[ProxyStatus, ...]:
        """Every proxy once, by service and name."""
        if not self._peers:
            return tuple(own)
        best: dict[ProxyKey, ProxyStatus] = {}
        for one in (*own, *(_plain(told) for told in self._told())):
            key = (one.service, one.name)
            if key not in best or _rank(one) > _rank(best[key]):
                best[key] = one
        return tuple(best[key] for key in sorted(best))

    def pending(self, own: Mapping[ProxyKey, int]) -> Mapping[ProxyKey, int]:
        """Unanswered responses of each connected proxy, wherever it is connected."""
        told = {(one.service, one.name): one.pending for one in self._told() if one.state != "disconnected"}
        return {**told, **own}

    def rejections(self) -> dict[ProxyKey, str]:
        """What the proxies that are connected to peers refuse; empty when they take everything."""
        return {(one.service, one.name): one.error for one in self._told() if one.state != "disconnected"}

    def reports(self, own: Iterable[tuple[float, ProxyReport]], now: float) -> tuple[ProxyReport, ...]:
        """The youngest report of each proxy, of those that still count; `own` come with their ages."""
        if not self._peers:
            return tuple(report for _, report in own)
        youngest: dict[ProxyKey, tuple[float, ProxyReport]] = {}
        for age, one in (*own, *self._reported(now)):
            key = (one.service, one.node)
            if age < REPORT_TTL and (key not in youngest or age < youngest[key][0]):
                youngest[key] = (age, one)
        return tuple(one for _, one in youngest.values())

    def rollouts(self, own: Mapping[str, RolloutCount]) -> Mapping[str, RolloutCount]:
        """The sums over all control planes: a proxy's stream is at one of them."""
        found = dict(own)
        for peer in self._peers.values():
            for ref, more in peer.deliveries.items():
                known = found.get(ref, RolloutCount())
                found[ref] = RolloutCount(
                    known.holders + more.holders,
                    known.acked + more.acked,
                    tuple(sorted({*known.rejections, *more.rejections})),
                )
        return found

    def problems(self) -> tuple[str, ...]:
        """What failed inside peers."""
        return tuple(words for peer in self._peers.values() for words in peer.problems)

    def _told(self) -> Iterator[RemoteProxy]:
        return (one for peer in self._peers.values() for one in peer.proxies)

    def _reported(self, now: float) -> Iterator[tuple[float, ProxyReport]]:
        return (
            (age + now - peer.received_at, one) for peer in self._peers.values() for age, one in peer.reports
        )


def _plain(told: RemoteProxy) -> ProxyStatus:
    return ProxyStatus(
        name=told.name, service=told.service, state=told.state, revision=told.revision, error=told.error
    )


def _rank(one: ProxyStatus) -> tuple[bool, int, int, str]:
    return one.state != "disconnected", one.revision, _RANK[one.state], one.error
