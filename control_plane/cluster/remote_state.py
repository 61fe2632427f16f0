"""The last known state of all peers, merged with this control plane's own. Pure.

The result does not depend on who merges: if two control planes report the same proxy, what they report
decides, not who they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.agents.reports import REPORT_TTL
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyState, ProxyStatus
from meshwright.control_plane.cluster.wire import PeerState, RemoteProxy
from meshwright.control_plane.status.acks import AckCount

ProxyKey = tuple[str, str]
"""Service and name of a proxy."""

_STATE_RANK: dict[ProxyState, int] = {"disconnected": 0, "rejected": 1, "pending": 2, "synced": 3}
# Of two streams of one proxy, a connected one wins; of two connected ones, the one that is further.


@dataclass(slots=True)
class _Peer:
    """`reports_received_at`: by this control plane's clock."""

    proxies: list[RemoteProxy] = field(default_factory=list)
    reports: list[tuple[float, ProxyReport]] = field(default_factory=list)
    reports_received_at: float = 0.0
    ack_counts: Mapping[str, AckCount] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class RemoteState:
    """The state of each peer, by its id. `now` is any monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def update(self, state: PeerState, now: float) -> None:
        """Replace a peer's state; lists that it does not contain keep their last contents."""
        peer = self._peers.setdefault(state.member_id, _Peer())
        peer.proxies, peer.problems = state.proxies, state.problems
        if state.reports is not None:
            peer.reports, peer.reports_received_at = state.reports, now
        if state.ack_counts is not None:
            peer.ack_counts = state.ack_counts

    def remove(self, id: str) -> None:
        """Drop a peer's state."""
        self._peers.pop(id, None)

    def proxies(self, local: Iterable[ProxyStatus]) -> tuple[ProxyStatus, ...]:
        """Every proxy once, by service and name."""
        if not self._peers:
            return tuple(local)
        best: dict[ProxyKey, ProxyStatus] = {}
        for status in (*local, *(proxy.status for proxy in self._proxies())):
            key = (status.service, status.name)
            if key not in best or _rank(status) > _rank(best[key]):
                best[key] = status
        return tuple(best[key] for key in sorted(best))

    def in_flight(self, local: Mapping[ProxyKey, int]) -> Mapping[ProxyKey, int]:
        """Unacknowledged responses of each connected proxy, wherever it is connected."""
        return {**{_key(proxy): proxy.in_flight for proxy in self._connected()}, **local}

    def rejection_texts(self) -> dict[ProxyKey, str]:
        """What each proxy that is connected to a peer rejects; "" if it accepts everything."""
        return {_key(proxy): proxy.status.error for proxy in self._connected()}

    def reports(self, local: Iterable[tuple[float, ProxyReport]], now: float) -> tuple[ProxyReport, ...]:
        """The latest report of each proxy that has not expired; `local` ones come with their ages."""
        if not self._peers:
            return tuple(report for _, report in local)
        latest: dict[ProxyKey, tuple[float, ProxyReport]] = {}
        for age, report in (*local, *self._reports(now)):
            key = (report.service, report.node)
            if age < REPORT_TTL and (key not in latest or age < latest[key][0]):
                latest[key] = (age, report)
        return tuple(report for _, report in latest.values())

    def ack_counts(self, local: Mapping[str, AckCount]) -> Mapping[str, AckCount]:
        """Sums over all control planes: a proxy's stream is at one of them."""
        totals = dict(local)
        for peer in self._peers.values():
            for ref, count in peer.ack_counts.items():
                totals[ref] = totals.get(ref, AckCount()) + count
        return totals

    def problems(self) -> Mapping[str, tuple[str, ...]]:
        """Internal failures of each peer, by its id."""
        return {id: peer.problems for id, peer in self._peers.items()}

    def _proxies(self) -> Iterator[RemoteProxy]:
        return (proxy for peer in self._peers.values() for proxy in peer.proxies)

    def _connected(self) -> Iterator[RemoteProxy]:
        return (proxy for proxy in self._proxies() if proxy.status.state != "disconnected")

    def _reports(self, now: float) -> Iterator[tuple[float, ProxyReport]]:
        return (
            (age + now - peer.reports_received_at, report)
            for peer in self._peers.values()
            for age, report in peer.reports
        )


def _key(proxy: RemoteProxy) -> ProxyKey:
    return proxy.status.service, proxy.status.name


def _rank(status: ProxyStatus) -> tuple[bool, int, int, str]:
    return status.state != "disconnected", status.revision, _STATE_RANK[status.state], status.error
