"""Folds health checks into a health state. Thresholds keep one lost response from changing it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from meshwright.sidecar.health_settings import HealthSettings

STARTING_INTERVAL = 0.2
"""Seconds between checks of an app that starts."""

RECHECK_INTERVAL = 1.0
"""Maximum seconds to the next check where the last one disagrees with the state, or the app is unhealthy."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check saw: `error` is empty when it passed.

    `slow`: there was no response in time, so the app may be merely busy. `listening`: a process accepts
    connections at the port.
    """

    error: str = ""
    slow: bool = False
    listening: bool = True


@dataclass(frozen=True, slots=True)
class HealthState:
    """`healthy` None: the app starts. `streak`: consecutive checks that disagree with it."""

    healthy: bool | None = None
    streak: int = 0

    def update(self, result: CheckResult, settings: HealthSettings, age: float) -> HealthState:
        """The state after one more check, `age` seconds after the first."""
        passed = not result.error
        if self.healthy is None:
            return HealthState(True) if passed else HealthState(None if age < settings.startup else False)
        if passed == self.healthy:
            return HealthState(self.healthy)
        threshold = settings.healthy_after if passed else settings.unhealthy_after
        if self.streak + 1 >= threshold:
            return HealthState(passed)
        return HealthState(self.healthy, self.streak + 1)

    def next_check_in(self, result: CheckResult, settings: HealthSettings) -> float:
        """Seconds until the next check. A healthy app that is slow gets its full interval to catch up."""
        if self.healthy is None:
            return min(STARTING_INTERVAL, settings.interval)
        if self.healthy and (not self.streak or result.slow):
            return settings.interval
        return min(RECHECK_INTERVAL, settings.interval)
