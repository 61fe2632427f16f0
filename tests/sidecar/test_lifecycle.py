"""The life of a sidecar, event by event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.sidecar.lifecycle import LifecycleCommand, LifecycleEvent, LifecycleState, Phase, step

STARTING = (
    LifecycleEvent.START,
    LifecycleEvent.ENROLLED,
    LifecycleEvent.PROXY_READY,
    LifecycleEvent.APP_HEALTHY,
)
STOPPING = (
    LifecycleEvent.STOP,
    LifecycleEvent.DRAINED,
    LifecycleEvent.IDLE,
    LifecycleEvent.APP_STOPPED,
    LifecycleEvent.DEREGISTERED,
    LifecycleEvent.PROXY_STOPPED,
)


def run(
    *events: LifecycleEvent, state: LifecycleState | None = None
) -> tuple[LifecycleState, list[LifecycleCommand]]:
    """The state after the events, and all their commands."""
    state, commands = state or LifecycleState(), list[LifecycleCommand]()
    for event in events:
        state, more = step(state, event)
        commands += more
    return state, commands


def test_start_runs_its_steps_in_order() -> None:
    state, commands = run(*STARTING)
    assert state.phase is Phase.RUNNING
    assert state.health == "healthy"
    assert commands == [
        LifecycleCommand.ENROL,
        LifecycleCommand.REGISTER,
        LifecycleCommand.START_PROXY,
        LifecycleCommand.START_APP,
        LifecycleCommand.REGISTER,
    ]


def test_stop_runs_its_steps_in_the_order_that_loses_no_request() -> None:
    state, _ = run(*STARTING)
    state, commands = run(*STOPPING, state=state)
    assert state.phase is Phase.STOPPED
    assert commands == [
        LifecycleCommand.REGISTER,
        LifecycleCommand.DRAIN,
        LifecycleCommand.DRAIN_REQUESTS,
        LifecycleCommand.STOP_APP,
        LifecycleCommand.DEREGISTER,
        LifecycleCommand.STOP_PROXY,
    ]


def test_each_step_of_a_stop_waits_for_the_one_before() -> None:
    state, _ = run(*STARTING, LifecycleEvent.STOP)
    after, commands = run(
        LifecycleEvent.IDLE, LifecycleEvent.APP_STOPPED, LifecycleEvent.PROXY_STOPPED, state=state
    )
    assert after == state
    assert not commands


def test_second_stop_does_not_drain_again() -> None:
    _, commands = run(*STARTING, LifecycleEvent.STOP, LifecycleEvent.STOP)
    assert commands.count(LifecycleCommand.DRAIN) == 1


@pytest.mark.parametrize("before", [(), (LifecycleEvent.START,)])
def test_stop_before_enrolment_needs_no_drain(before: tuple[LifecycleEvent, ...]) -> None:
    state, commands = run(*before, LifecycleEvent.STOP, LifecycleEvent.PROXY_STOPPED)
    assert state.phase is Phase.STOPPED
    assert commands[-1] is LifecycleCommand.STOP_PROXY
    assert LifecycleCommand.DRAIN not in commands


def test_registered_as_healthy_only_while_app_and_proxy_are() -> None:
    state, _ = run(*STARTING)
    state, commands = run(LifecycleEvent.PROXY_LOST, state=state)
    assert (state.health, commands) == ("unhealthy", [LifecycleCommand.REGISTER])
    state, commands = run(LifecycleEvent.APP_UNHEALTHY, state=state)
    assert (state.health, commands) == ("unhealthy", [])
    state, commands = run(LifecycleEvent.PROXY_READY, state=state)
    assert (state.health, commands) == ("unhealthy", [])
    state, commands = run(LifecycleEvent.APP_HEALTHY, state=state)
    assert (state.health, commands) == ("healthy", [LifecycleCommand.REGISTER])


def test_proxy_that_comes_back_does_not_start_the_app_again() -> None:
    _, commands = run(*STARTING, LifecycleEvent.PROXY_LOST, LifecycleEvent.PROXY_READY)
    assert commands.count(LifecycleCommand.START_APP) == 1


def test_port_conflict_restarts_the_proxy_until_the_app_has_started() -> None:
    state, commands = run(LifecycleEvent.START, LifecycleEvent.ENROLLED, LifecycleEvent.PORT_CONFLICT)
    assert state.phase is Phase.STARTING_PROXY
    assert commands[-1] is LifecycleCommand.RESTART_PROXY
    _, commands = run(*STARTING, LifecycleEvent.PORT_CONFLICT)
    assert LifecycleCommand.RESTART_PROXY not in commands


@given(st.lists(st.sampled_from(list(LifecycleEvent)), max_size=40))
def test_any_state_can_be_stopped(events: list[LifecycleEvent]) -> None:
    state, _ = run(*events)
    state, _ = run(*STOPPING, state=state)
    assert state.phase is Phase.STOPPED


@given(st.lists(st.sampled_from(list(LifecycleEvent)), max_size=40))
def test_health_follows_app_and_proxy_in_any_order_of_events(events: list[LifecycleEvent]) -> None:
    state, registered = LifecycleState(), "unhealthy"
    for event in events:
        state, commands = step(state, event)
        if LifecycleCommand.REGISTER in commands:
            registered = state.health
        enrolled = state.phase not in (Phase.NEW, Phase.ENROLLING)
        if enrolled and LifecycleCommand.STOP_PROXY not in commands:
            assert state.health == "draining" or (state.health == "healthy") == (
                state.proxy_ready and state.app_healthy
            )
    assert registered in ("healthy", "unhealthy", "draining")


def test_taken_over_processes_are_registered_healthy_and_restarted_by_nothing() -> None:
    state = LifecycleState.taken_over(proxy=True, app=True)
    state, commands = step(state, LifecycleEvent.START)
    assert commands == (LifecycleCommand.ENROL,)
    state, commands = step(state, LifecycleEvent.ENROLLED)
    assert (state.phase, state.health) == (Phase.RUNNING, "healthy")
    assert commands[0] is LifecycleCommand.REGISTER
    assert LifecycleCommand.RESTART_PROXY not in commands and LifecycleCommand.DRAIN not in commands


def test_taken_over_proxy_without_its_app_is_registered_unhealthy_until_the_app_is_back() -> None:
    state = LifecycleState.taken_over(proxy=True, app=False)
    for event in (LifecycleEvent.START, LifecycleEvent.ENROLLED):
        state, commands = step(state, event)
    assert (state.health, commands[0]) == ("unhealthy", LifecycleCommand.REGISTER)
    state, commands = step(state, LifecycleEvent.APP_HEALTHY)
    assert (state.phase, commands) == (Phase.RUNNING, (LifecycleCommand.REGISTER,))


RUNNING = LifecycleState(Phase.RUNNING, proxy_ready=True, app_started=True, app_healthy=True)


def through(state: LifecycleState, *events: LifecycleEvent) -> tuple[LifecycleState, list[LifecycleCommand]]:
    """The state after some events, and all commands on the way."""
    commands: list[LifecycleCommand] = []
    for event in events:
        state, more = step(state, event)
        commands += more
    return state, commands


def test_restart_drains_stops_and_starts_the_app_beside_the_same_proxy() -> None:
    state, commands = through(
        RUNNING,
        LifecycleEvent.RESTART,
        LifecycleEvent.DRAINED,
        LifecycleEvent.IDLE,
        LifecycleEvent.APP_STOPPED,
        LifecycleEvent.APP_HEALTHY,
    )
    assert state == RUNNING
    assert commands == [
        LifecycleCommand.REGISTER,  # draining
        LifecycleCommand.DRAIN,
        LifecycleCommand.WAIT_IDLE,
        LifecycleCommand.STOP_APP,
        LifecycleCommand.REGISTER,  # unhealthy
        LifecycleCommand.START_APP,
        LifecycleCommand.REGISTER,  # healthy
    ]


def test_stop_during_a_restart_goes_on_to_the_end() -> None:
    state, commands = through(
        RUNNING,
        LifecycleEvent.RESTART,
        LifecycleEvent.STOP,
        LifecycleEvent.DRAINED,
        LifecycleEvent.IDLE,
        LifecycleEvent.APP_STOPPED,
    )
    assert state.phase is Phase.DEREGISTERING
    assert LifecycleCommand.START_APP not in commands


def test_proxy_lost_during_a_restart_is_awaited_before_the_instance_is_healthy() -> None:
    state, _ = through(
        RUNNING,
        LifecycleEvent.RESTART,
        LifecycleEvent.PROXY_LOST,
        LifecycleEvent.DRAINED,
        LifecycleEvent.IDLE,
        LifecycleEvent.APP_STOPPED,
        LifecycleEvent.APP_HEALTHY,
    )
    assert state.health == "unhealthy"
    state, _ = through(state, LifecycleEvent.PROXY_READY)
    assert state == RUNNING


def test_restart_before_the_app_started_changes_nothing() -> None:
    state = LifecycleState(Phase.STARTING_PROXY)
    assert step(state, LifecycleEvent.RESTART) == (state, ())
