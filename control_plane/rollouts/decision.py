"""What happens to a rollout next, from its spec, its progress and what proxies reported. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from meshwright.control_plane.api.models.rollouts import RolloutAction
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.rollout.progress import RolloutProgress
from meshwright.control_plane.policies.rollout.spec import RolloutGuards, RolloutSpec, RolloutStep

SUCCESS_TOLERANCE = 1.0
"""Percentage points by which the canary may succeed less often than the stable version does: chance alone
makes that much of a difference at a few hundred requests.
"""

LATENCY_TOLERANCE_MS = 5.0
"""Milliseconds by which the canary may be slower, whatever the ratio: of 1 ms and 3 ms neither is slow."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests to one backend over some time; `p99` in ms."""

    requests: float = 0.0
    failures: float = 0.0
    p99: float = 0.0

    @property
    def success_rate(self) -> float:
        """Percentage of requests that did not fail; 100 without any."""
        return 100.0 * (1.0 - self.failures / self.requests) if self.requests else 100.0


@dataclass(frozen=True, slots=True)
class Observation:
    """The figures of the guards' window, and the canary's requests since the step began."""

    canary: Figures = Figures()
    stable: Figures = Figures()
    in_step: float = 0.0


def next_progress(
    spec: RolloutSpec, progress: RolloutProgress, seen: Observation, now: float
) -> RolloutProgress | None:
    """Where the rollout stands next; None: nothing changes. `now` in seconds since the epoch."""
    if progress.has_ended:
        return None
    if progress.step == 0:
        return entered(spec, 1, now)
    failures = list(failed_guards(spec.guards, seen))
    if breaches := [failure.text for failure in failures if not failure.stable_too]:
        return RolloutProgress(progress.step, "Aborted", now, "; ".join(breaches))
    if progress.phase == "Paused" or waits_for(spec, progress, seen, now):
        return None
    return entered(spec, progress.step + 1, now)


def entered(spec: RolloutSpec, step: int, now: float) -> RolloutProgress:
    """The beginning of a step; after the last one the canary is promoted."""
    count = len(spec.steps)
    if step > count:
        return RolloutProgress(count, "Promoted", now, f"{_name(spec)} has all requests")
    return RolloutProgress(
        step, "Progressing", now, f"step {step} of {count}: {share(spec.steps[step - 1], spec)}"
    )


def share(step: RolloutStep, spec: RolloutSpec) -> str:
    """What the canary gets in a step, in words."""
    if step.mirror is not None:
        return f"copies of {step.mirror} % of the requests go to {_name(spec)}"
    return f"{step.weight} % of the requests go to {_name(spec)}"


def waits_for(spec: RolloutSpec, progress: RolloutProgress, seen: Observation, now: float) -> str:
    """What the step waits for, in words; empty: it can end."""
    step = progress.current(spec)
    if step is None:
        return ""
    if progress.phase == "Paused":
        return "`mesh rollout resume`"
    if any(True for _ in failed_guards(spec.guards, seen)):
        return "the stable version, which does not keep to the guards either"
    if step.pause is None:
        return "`mesh rollout promote`"
    left = progress.since + step.pause.total_seconds() - now
    if left > 0:
        return f"{max(round(left), 1)} s to pass"
    if spec.guards and seen.in_step < spec.guards.min_requests:
        return f"{spec.guards.min_requests} requests to the canary: {seen.in_step:.0f} so far"
    return ""


@dataclass(frozen=True, slots=True)
class GuardFailure:
    """A guard that the canary does not keep to. `stable_too`: nor does the stable version: no proof."""

    text: str
    stable_too: bool


def failed_guards(guards: RolloutGuards | None, seen: Observation) -> Iterator[GuardFailure]:
    """The guards that the canary does not keep to, once it has enough requests to be judged."""
    if guards is None or seen.canary.requests < guards.min_requests:
        return
    canary, stable = seen.canary, seen.stable
    comparable = stable.requests >= guards.min_requests
    if guards.success_rate is not None and canary.success_rate < guards.success_rate:
        text = (
            f"{canary.failures:.0f} of {canary.requests:.0f} requests to the canary failed: "
            f"{canary.success_rate:.1f} % succeeded, successRate is {guards.success_rate:g} %"
        )
        as_bad = comparable and canary.success_rate >= stable.success_rate - SUCCESS_TOLERANCE
        yield GuardFailure(_compared(text, f"{stable.success_rate:.1f} %", comparable=comparable), as_bad)
    if guards.p99 is not None and canary.p99 > _ms(guards.p99):
        text = f"p99 of the canary is {canary.p99:.0f} ms, the guard's is {_ms(guards.p99):.0f} ms"
        as_bad = comparable and canary.p99 <= stable.p99 + LATENCY_TOLERANCE_MS
        yield GuardFailure(_compared(text, f"{stable.p99:.0f} ms", comparable=comparable), as_bad)
    if guards.latency_ratio is not None and comparable:
        limit = max(stable.p99 * guards.latency_ratio, stable.p99 + LATENCY_TOLERANCE_MS)
        if canary.p99 > limit:
            text = f"p99 of the canary is {canary.p99:.0f} ms, more than {guards.latency_ratio:g} times"
            yield GuardFailure(f"{text} that of the stable version, {stable.p99:.0f} ms", stable_too=False)


def _compared(text: str, stable: str, *, comparable: bool) -> str:
    return f"{text}; stable version: {stable}" if comparable else text


def _ms(duration: timedelta) -> float:
    return duration.total_seconds() * 1000


def _name(spec: RolloutSpec) -> str:
    return f"{spec.canary.kind} {spec.canary.name}"


def steered(
    spec: RolloutSpec, progress: RolloutProgress, action: RolloutAction, now: float
) -> RolloutProgress:
    """Where a person's action leads; raises InputError if it makes no sense now."""
    if action == "restart":
        return entered(spec, 1, now)
    if progress.has_ended:
        raise InputError(f"the rollout is {progress.phase.lower()}: `mesh rollout restart` starts it again")
    match action:
        case "promote":
            return entered(spec, progress.step + 1, now)
        case "promote-fully":
            return entered(spec, len(spec.steps) + 1, now)
        case "abort":
            return RolloutProgress(progress.step, "Aborted", now, "aborted by hand")
        case "pause":
            return replace(progress, phase="Paused", since=now, reason="paused by hand")
        case "resume":
            if progress.phase != "Paused":
                raise InputError("the rollout is not paused")
            return entered(spec, max(progress.step, 1), now)
