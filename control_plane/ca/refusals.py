"""How many refused attempts are answered in words: token buckets for each peer and for all together.

They bound what a peer can write into the log and learn by trying. A request that is entitled is never
counted, so a misbehaving neighbour on the same address keeps nobody out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

PEERS_LIMIT = 4096
"""Peers remembered at once; the one that was quiet longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, then `per_second`."""

    burst: float
    per_second: float


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float

    def take(self, rate: Rate, now: float) -> bool:
        self.left = min(rate.burst, self.left + max(0.0, now - self.at) * rate.per_second)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Refusals:
    """Counts refusals; the times are seconds of any clock that does not go back."""

    def __init__(self, each: Rate, together: Rate) -> None:
        self._each = each
        self._together = together
        self._all = _Bucket(together.burst, 0.0)
        self._peers: OrderedDict[str, _Bucket] = OrderedDict()

    def allow(self, peer: str, now: float) -> bool:
        """Count a refusal of `peer`; False when it had too many, or all peers together had."""
        bucket = self._peers.setdefault(peer, _Bucket(self._each.burst, now))
        self._peers.move_to_end(peer)
        if len(self._peers) > PEERS_LIMIT:
            self._peers.popitem(last=False)
        return bucket.take(self._each, now) and self._all.take(self._together, now)
