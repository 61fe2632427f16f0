"""How long to wait before a retry. Pure: the caller supplies clock and jitter."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `base` to `cap` seconds. Running for `healthy` seconds resets the count."""

    base: float = 0.2
    cap: float = 10.0
    healthy: float = 30.0
    failures: int = 0

    def failed(self, ran: float = 0.0) -> Backoff:
        """Count a failure that came after `ran` seconds of success."""
        return replace(self, failures=1 if ran >= self.healthy else min(self.failures + 1, 64))

    def worked(self) -> Backoff:
        """Reset the failure count."""
        return replace(self, failures=0)

    def delay(self, jitter: float) -> float:
        """Seconds to wait now; 0 without failures. `jitter` in 0..1 takes off up to a quarter, so that
        several clients do not retry in step.
        """
        if not self.failures:
            return 0.0
        full = min(self.cap, self.base * 2.0 ** (self.failures - 1))
        return full * (1 - jitter / 4)
