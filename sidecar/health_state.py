"""From single health checks to a verdict: a fold with thresholds, so that one lost answer changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

UNHEALTHY_AFTER = 3
"""Failed checks in a row before an app that was healthy is no longer (Kubernetes' failureThreshold)."""

HEALTHY_AFTER = 2
"""Good checks in a row before an app that fell ill is trusted again; at its first start one is enough."""


@dataclass(frozen=True, slots=True)
class HealthState:
    """`healthy` None: never seen healthy yet. `streak`: checks in a row that disagree with `healthy`."""

    healthy: bool | None = None
    streak: int = 0

    def update(self, good: bool) -> HealthState:
        """The verdict once another check came out `good` or not."""
        if self.healthy is None:
            return HealthState(True) if good else self
        if good == self.healthy:
            return HealthState(self.healthy)
        enough = HEALTHY_AFTER if good else UNHEALTHY_AFTER
        return HealthState(good) if self.streak + 1 >= enough else HealthState(self.healthy, self.streak + 1)

    @property
    def next_check_in(self) -> float:
        """Seconds until the next check: short while something is about to change."""
        return 1.0 if self.healthy and not self.streak else 0.2
