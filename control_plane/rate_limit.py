"""Rate limit for refusals: token buckets per peer and for all peers together.

They bound what a peer can write to the log and learn by guessing. Valid requests are never counted, so a
misbehaving neighbour on the same address locks nobody out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

PEER_LIMIT = 4096
"""Peers with a bucket; the one that has been idle longest is dropped first."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_second`."""

    burst: float
    per_second: float


@dataclass(slots=True)
class _TokenBucket:
    tokens: float
    updated: float

    def take(self, rate: Rate, now: float) -> bool:
        self.tokens = min(rate.burst, self.tokens + max(0.0, now - self.updated) * rate.per_second)
        self.updated = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class RefusalRateLimiter:
    """Limits refusals; times are seconds of any monotonic clock."""

    def __init__(self, per_peer: Rate, total: Rate) -> None:
        self._per_peer = per_peer
        self._total = total
        self._total_bucket = _TokenBucket(total.burst, 0.0)
        self._peers: OrderedDict[str, _TokenBucket] = OrderedDict()

    def allow(self, peer: str, now: float) -> bool:
        """Count a refusal of `peer`; False when the peer, or all peers together, exceed their rate."""
        bucket = self._peers.setdefault(peer, _TokenBucket(self._per_peer.burst, now))
        self._peers.move_to_end(peer)
        if len(self._peers) > PEER_LIMIT:
            self._peers.popitem(last=False)
        return bucket.take(self._per_peer, now) and self._total_bucket.take(self._total, now)
