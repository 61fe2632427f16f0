"""How long to wait before trying again: pure arithmetic, the clock and the dice stay with the caller."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays from `base` to `cap` seconds; a run of `healthy` seconds forgets the failures."""

    base: float = 0.2
    cap: float = 10.0
    healthy: float = 30.0
    failures: int = 0

    def failed(self, ran: float = 0.0) -> Backoff:
        """One more failure, after something had worked for `ran` seconds."""
        return replace(self, failures=1 if ran >= self.healthy else min(self.failures + 1, 64))

    def worked(self) -> Backoff:
        """Nothing is wrong any more."""
        return replace(self, failures=0)

    def delay(self, jitter: float) -> float:
        """Seconds to wait now; `jitter` in 0..1 takes off up to a quarter, so that many do not try as one."""
        if not self.failures:
            return 0.0
        whole = min(self.cap, self.base * 2.0 ** (self.failures - 1))
        return whole * (1 - jitter / 4)
