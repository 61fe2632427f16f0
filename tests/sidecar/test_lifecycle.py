"""The life of a sidecar, event by event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.sidecar.lifecycle import LifecycleCommand, LifecycleEvent, LifecycleState, Phase, step

UP = (LifecycleEvent.START, LifecycleEvent.ENROLLED, LifecycleEvent.PROXY_READY, LifecycleEvent.APP_HEALTHY)
DOWN = (
    LifecycleEvent.STOP,
    LifecycleEvent.DRAINED,
    LifecycleEvent.IDLE,
    LifecycleEvent.APP_STOPPED,
    LifecycleEvent.DEREGISTERED,
    LifecycleEvent.PROXY_STOPPED,
)


def live(
    *events: LifecycleEvent, state: LifecycleState | None = None
) -> tuple[LifecycleState, list[LifecycleCommand]]:
    now, commands = state or LifecycleState(), list[LifecycleCommand]()
    for event in events:
        now, more = step(now, event)
        commands += more
    return now, commands


def test_up_in_order() -> None:
    state, commands = live(*UP)
    assert state.phase is Phase.RUNNING
    assert state.health == "healthy"
    assert commands == [
        LifecycleCommand.ENROL,
        LifecycleCommand.REGISTER,
        LifecycleCommand.START_PROXY,
        LifecycleCommand.START_APP,
        LifecycleCommand.REGISTER,
    ]


def test_down_in_the_order_that_loses_no_request() -> None:
    state, _ = live(*UP)
    state, commands = live(*DOWN, state=state)
    assert state.phase is Phase.STOPPED
    assert commands == [
        LifecycleCommand.REGISTER,
        LifecycleCommand.DRAIN,
        LifecycleCommand.DRAIN_REQUESTS,
        LifecycleCommand.STOP_APP,
        LifecycleCommand.DEREGISTER,
        LifecycleCommand.STOP_PROXY,
    ]


def test_a_step_down_waits_for_the_one_before() -> None:
    state, _ = live(*UP, LifecycleEvent.STOP)
    after, commands = live(
        LifecycleEvent.IDLE, LifecycleEvent.APP_STOPPED, LifecycleEvent.PROXY_STOPPED, state=state
    )
    assert after == state
    assert not commands


def test_told_to_stop_twice_drains_once() -> None:
    _, commands = live(*UP, LifecycleEvent.STOP, LifecycleEvent.STOP)
    assert commands.count(LifecycleCommand.DRAIN) == 1


@pytest.mark.parametrize("before", [(), (LifecycleEvent.START,)])
def test_stopped_before_it_had_an_identity(before: tuple[LifecycleEvent, ...]) -> None:
    state, commands = live(*before, LifecycleEvent.STOP, LifecycleEvent.PROXY_STOPPED)
    assert state.phase is Phase.STOPPED
    assert commands[-1] is LifecycleCommand.STOP_PROXY
    assert LifecycleCommand.DRAIN not in commands


def test_the_lease_is_healthy_only_while_app_and_proxy_are() -> None:
    state, _ = live(*UP)
    state, commands = live(LifecycleEvent.PROXY_LOST, state=state)
    assert (state.health, commands) == ("unhealthy", [LifecycleCommand.REGISTER])
    state, commands = live(LifecycleEvent.APP_UNHEALTHY, state=state)
    assert (state.health, commands) == ("unhealthy", [])
    state, commands = live(LifecycleEvent.PROXY_READY, state=state)
    assert (state.health, commands) == ("unhealthy", [])
    state, commands = live(LifecycleEvent.APP_HEALTHY, state=state)
    assert (state.health, commands) == ("healthy", [LifecycleCommand.REGISTER])


def test_a_proxy_that_comes_back_does_not_start_the_app_again() -> None:
    _, commands = live(*UP, LifecycleEvent.PROXY_LOST, LifecycleEvent.PROXY_READY)
    assert commands.count(LifecycleCommand.START_APP) == 1


def test_taken_ports_start_the_proxy_anew_until_the_app_was_told_its_own() -> None:
    state, commands = live(LifecycleEvent.START, LifecycleEvent.ENROLLED, LifecycleEvent.PORT_CONFLICT)
    assert state.phase is Phase.STARTING_PROXY
    assert commands[-1] is LifecycleCommand.RESTART_PROXY
    _, commands = live(*UP, LifecycleEvent.PORT_CONFLICT)
    assert LifecycleCommand.RESTART_PROXY not in commands


@given(st.lists(st.sampled_from(list(LifecycleEvent)), max_size=40))
def test_whatever_happens_it_can_be_stopped(events: list[LifecycleEvent]) -> None:
    state, _ = live(*events)
    state, _ = live(*DOWN, state=state)
    assert state.phase is Phase.STOPPED


@given(st.lists(st.sampled_from(list(LifecycleEvent)), max_size=40))
def test_health_never_says_more_than_is_known(events: list[LifecycleEvent]) -> None:
    state, announced = LifecycleState(), "unhealthy"
    for event in events:
        state, commands = step(state, event)
        if LifecycleCommand.REGISTER in commands:
            announced = state.health
        if state.phase not in (Phase.NEW, Phase.ENROLLING) and LifecycleCommand.STOP_PROXY not in commands:
            assert state.health == "draining" or (state.health == "healthy") == (
                state.proxy_ready and state.app_healthy
            )
    assert announced in ("healthy", "unhealthy", "draining")
