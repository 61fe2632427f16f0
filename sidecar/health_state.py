"""Folds health probes into a health state. Thresholds keep one lost response from changing it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

UNHEALTHY_AFTER = 3
"""Consecutive failed probes before a healthy app counts as unhealthy (Kubernetes' failureThreshold)."""

HEALTHY_AFTER = 2
"""Consecutive good probes before an unhealthy app counts as healthy again. The first start needs one."""


@dataclass(frozen=True, slots=True)
class HealthState:
    """`healthy` None: not yet healthy since the start. `streak`: consecutive probes that disagree with it."""

    healthy: bool | None = None
    streak: int = 0

    def update(self, passed: bool) -> HealthState:
        """The state after one more probe."""
        if self.healthy is None:
            return HealthState(True) if passed else self
        if passed == self.healthy:
            return HealthState(self.healthy)
        threshold = HEALTHY_AFTER if passed else UNHEALTHY_AFTER
        if self.streak + 1 >= threshold:
            return HealthState(passed)
        return HealthState(self.healthy, self.streak + 1)

    @property
    def next_check_in(self) -> float:
        """Seconds until the next probe: short unless the app is steadily healthy."""
        return 1.0 if self.healthy and not self.streak else 0.2
