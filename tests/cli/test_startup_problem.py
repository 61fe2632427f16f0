"""When `mesh up` gives up on a workload: an error that stays, or one that keeps coming back."""

from __future__ import annotations

from meshwright.cli.startup_problem import MAX_ERRORS, STUCK_AFTER, StartupProblem


def test_an_error_that_stays_becomes_permanent() -> None:
    problem = StartupProblem().observe("refused", 100.0)
    assert problem.observe("refused", 105.0) == problem, "the same error goes on"
    assert not problem.is_permanent(100.0 + STUCK_AFTER)
    assert problem.is_permanent(100.1 + STUCK_AFTER)


def test_an_error_that_goes_away_is_not_permanent_and_is_remembered() -> None:
    problem = StartupProblem().observe("refused", 100.0).observe("", 101.0)
    assert not problem.is_permanent(500.0)
    assert problem.last_error == "refused"


def test_an_error_that_keeps_coming_back_becomes_permanent() -> None:
    problem = StartupProblem()
    for attempt in range(MAX_ERRORS):
        assert not problem.is_permanent(float(attempt))
        problem = problem.observe("", float(attempt)).observe("crashed", float(attempt))
    assert problem.is_permanent(float(MAX_ERRORS))


def test_a_busy_control_plane_is_no_reason_to_give_up() -> None:
    """A machine with much to do starts slowly: the time that the start has decides."""
    late = "registration: Register: Deadline Exceeded"
    waiting = "proxy: waiting for its listeners from the control plane"
    problem = StartupProblem()
    for attempt in range(2 * MAX_ERRORS):
        problem = problem.observe(f"{late}; {waiting}", float(attempt)).observe(waiting, float(attempt))
    assert not problem.is_permanent(500.0)
    assert problem.last_error == waiting
    stuck = problem.observe(f"{late}; app: exited with code 1", 500.0)
    assert stuck.is_permanent(500.1 + STUCK_AFTER)
