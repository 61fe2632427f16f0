"""When a rollout moves on, waits, or is aborted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api.models.rollouts import RolloutAction
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.rollout.progress import RolloutProgress
from meshwright.control_plane.policies.rollout.spec import RolloutSpec
from meshwright.control_plane.rollouts.decision import (
    Figures,
    Observation,
    next_progress,
    steered,
    waits_for,
)

STEPS = [{"mirror": 100, "pause": "1m"}, {"weight": 10, "pause": "1m"}, {"weight": 50}]
GUARDS = {"successRate": 99, "p99": "100ms", "latencyRatio": 2, "minRequests": 20}


def spec(**fields: Any) -> RolloutSpec:
    """A rollout of version 2 of quotes."""
    body = {
        "route": {"name": "quotes"},
        "stable": {"name": "quotes"},
        "canary": {"group": "meshwright.io", "kind": "Subset", "name": "v2"},
        "steps": STEPS,
        "guards": GUARDS,
    }
    return RolloutSpec.model_validate({**body, **fields})


STABLE = Figures(1000, 0, 50)


def seen(
    failures: float = 0, p99: float = 50, stable: Figures = STABLE, requests: float = 100
) -> Observation:
    """What proxies report: requests to the canary, of which `failures` failed."""
    return Observation(Figures(requests, failures, p99), stable, requests)


GOOD = seen()
STEP_2 = RolloutProgress(2, since=1000.0)


def test_a_rollout_goes_through_its_steps_and_ends_promoted() -> None:
    rollout = spec(steps=[{"weight": 10, "pause": "1m"}, {"weight": 50, "pause": "1m"}])
    shares, progress, now = [], RolloutProgress(), 1000.0
    while moved := next_progress(rollout, progress, GOOD, now):
        progress = moved
        shares.append(progress.weight(rollout))
        assert next_progress(rollout, progress, GOOD, now + 59) is None
        now += 60
    assert shares == [10, 50, 100]
    assert (progress.phase, progress.reason) == ("Promoted", "Subset v2 has all requests")


@pytest.mark.parametrize(
    ("observed", "now", "waits"),
    [
        (GOOD, 1030.0, "30 s to pass"),
        (seen(requests=3), 1090.0, "20 requests to the canary: 3 so far"),
        (GOOD, 1060.0, ""),
    ],
)
def test_a_step_ends_after_its_pause_with_enough_requests(
    observed: Observation, now: float, waits: str
) -> None:
    assert waits_for(spec(), STEP_2, observed, now) == waits
    assert (next_progress(spec(), STEP_2, observed, now) is None) == bool(waits)


def test_a_step_without_a_pause_waits_for_a_person() -> None:
    last = RolloutProgress(3, since=1000.0)
    assert waits_for(spec(), last, GOOD, 1e9) == "`mesh rollout promote`"
    assert steered(spec(), last, "promote", 1e9).phase == "Promoted"


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (
            seen(failures=2),
            "2 of 100 requests to the canary failed: 98.0 % succeeded, successRate is 99 %; "
            "stable version: 100.0 %",
        ),
        (
            seen(p99=101, stable=Figures(1000, 0, 60)),
            "p99 of the canary is 101 ms, the guard's is 100 ms; stable version: 60 ms",
        ),
        (
            seen(p99=90, stable=Figures(1000, 0, 40)),
            "p99 of the canary is 90 ms, more than 2 times that of the stable version, 40 ms",
        ),
        (
            seen(failures=2, stable=Figures(5, 5, 0)),
            "2 of 100 requests to the canary failed: 98.0 % succeeded, successRate is 99 %",
        ),
    ],
)
@pytest.mark.parametrize("phase", ["Progressing", "Paused"])
def test_a_failed_guard_aborts_at_once_and_says_why(observed: Observation, reason: str, phase: Any) -> None:
    moved = next_progress(spec(), RolloutProgress(2, phase, 1000.0), observed, 1001.0)
    assert moved == RolloutProgress(2, "Aborted", 1001.0, reason)
    assert moved.weight(spec()) == moved.mirror(spec()) == 0


@pytest.mark.parametrize(
    "observed",
    [
        seen(failures=10, stable=Figures(1000, 100, 50)),
        seen(p99=120, stable=Figures(1000, 0, 120)),
    ],
)
def test_what_the_stable_version_does_as_badly_is_no_proof(observed: Observation) -> None:
    assert next_progress(spec(), STEP_2, observed, 1e9) is None
    assert "stable version" in waits_for(spec(), STEP_2, observed, 1e9)


@pytest.mark.parametrize(
    "observed", [seen(failures=19, requests=19), seen(p99=8, stable=Figures(1000, 0, 3))]
)
def test_few_requests_and_a_few_milliseconds_prove_nothing(observed: Observation) -> None:
    assert next_progress(spec(), STEP_2, observed, 1001.0) is None


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("promote", RolloutProgress(1), (2, "Progressing", 10, 0)),
        ("promote-fully", RolloutProgress(1), (3, "Promoted", 100, 0)),
        ("pause", RolloutProgress(1), (1, "Paused", 0, 100)),
        ("resume", RolloutProgress(2, "Paused"), (2, "Progressing", 10, 0)),
        ("abort", RolloutProgress(2), (2, "Aborted", 0, 0)),
        ("restart", RolloutProgress(2, "Aborted"), (1, "Progressing", 0, 100)),
    ],
)
def test_a_person_steers(action: RolloutAction, before: RolloutProgress, after: tuple[Any, ...]) -> None:
    moved = steered(spec(), before, action, 5.0)
    assert (moved.step, moved.phase, moved.weight(spec()), moved.mirror(spec())) == after
    assert moved.since == 5.0
    assert moved.reason


@pytest.mark.parametrize(
    ("action", "before", "message"),
    [
        ("promote", RolloutProgress(3, "Promoted"), "is promoted"),
        ("pause", RolloutProgress(2, "Aborted"), "is aborted"),
        ("resume", RolloutProgress(2), "not paused"),
    ],
)
def test_steering_that_makes_no_sense_is_an_error(
    action: RolloutAction, before: RolloutProgress, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        steered(spec(), before, action, 5.0)


@given(
    step=st.integers(0, 3),
    phase=st.sampled_from(["Progressing", "Paused", "Promoted", "Aborted"]),
    failures=st.integers(0, 200),
    requests=st.integers(0, 200),
    elapsed=st.floats(0, 1e5),
)
def test_the_share_never_grows_while_a_guard_fails(
    step: int, phase: Any, failures: int, requests: int, elapsed: float
) -> None:
    before = RolloutProgress(step, phase, 1000.0)
    observed = seen(failures=min(failures, requests), requests=requests)
    moved = next_progress(spec(), before, observed, 1000.0 + elapsed)
    if moved is not None and moved.weight(spec()) > before.weight(spec()):
        assert observed.canary.success_rate >= 99
        assert phase == "Progressing"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": [{"weight": 50}, {"weight": 10}]}, "weights grow"),
        ({"steps": [{"weight": 5}, {"mirror": 10}]}, "put mirrors first"),
        ({"steps": [{"weight": 5, "mirror": 10}]}, "exactly one"),
        ({"steps": [{"weight": 0}]}, "0 percent"),
        ({"canary": {"name": "quotes"}}, "are both Service quotes"),
        ({"guards": {"minRequests": 5}}, "watch nothing"),
        ({"guards": {"p99": "1s", "window": "1h"}}, "4s to 10m"),
    ],
)
def test_specs_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(**fields)
