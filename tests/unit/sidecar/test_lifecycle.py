"""The life of a sidecar, event by event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.lifecycle import Command, Event, Phase, State, step

UP = (Event.BEGIN, Event.ENROLLED, Event.PROXY_READY, Event.APP_HEALTHY)
DOWN = (Event.STOP, Event.DRAINED, Event.QUIET, Event.APP_STOPPED, Event.DEREGISTERED, Event.PROXY_STOPPED)


def live(*events: Event, state: State | None = None) -> tuple[State, list[Command]]:
    now, commands = state or State(), list[Command]()
    for event in events:
        now, more = step(now, event)
        commands += more
    return now, commands


def test_up_in_order() -> None:
    state, commands = live(*UP)
    assert state.phase is Phase.RUNNING
    assert state.health == "healthy"
    assert commands == [
        Command.ENROL,
        Command.ANNOUNCE,
        Command.START_PROXY,
        Command.START_APP,
        Command.ANNOUNCE,
    ]


def test_down_in_the_order_that_loses_no_request() -> None:
    state, _ = live(*UP)
    state, commands = live(*DOWN, state=state)
    assert state.phase is Phase.STOPPED
    assert commands == [
        Command.ANNOUNCE,
        Command.DRAIN,
        Command.FINISH,
        Command.STOP_APP,
        Command.DEREGISTER,
        Command.STOP_PROXY,
    ]


def test_a_step_down_waits_for_the_one_before() -> None:
    state, _ = live(*UP, Event.STOP)
    after, commands = live(Event.QUIET, Event.APP_STOPPED, Event.PROXY_STOPPED, state=state)
    assert after == state
    assert not commands


def test_told_to_stop_twice_drains_once() -> None:
    _, commands = live(*UP, Event.STOP, Event.STOP)
    assert commands.count(Command.DRAIN) == 1


@pytest.mark.parametrize("before", [(), (Event.BEGIN,)])
def test_stopped_before_it_had_an_identity(before: tuple[Event, ...]) -> None:
    state, commands = live(*before, Event.STOP, Event.PROXY_STOPPED)
    assert state.phase is Phase.STOPPED
    assert commands[-1] is Command.STOP_PROXY
    assert Command.DRAIN not in commands


def test_the_lease_is_healthy_only_while_app_and_proxy_are() -> None:
    state, _ = live(*UP)
    state, commands = live(Event.PROXY_LOST, state=state)
    assert (state.health, commands) == ("unhealthy", [Command.ANNOUNCE])
    state, commands = live(Event.APP_UNHEALTHY, state=state)
    assert (state.health, commands) == ("unhealthy", [])
    state, commands = live(Event.PROXY_READY, state=state)
    assert (state.health, commands) == ("unhealthy", [])
    state, commands = live(Event.APP_HEALTHY, state=state)
    assert (state.health, commands) == ("healthy", [Command.ANNOUNCE])


def test_a_proxy_that_comes_back_does_not_start_the_app_again() -> None:
    _, commands = live(*UP, Event.PROXY_LOST, Event.PROXY_READY)
    assert commands.count(Command.START_APP) == 1


def test_taken_ports_start_the_proxy_anew_until_the_app_was_told_its_own() -> None:
    state, commands = live(Event.BEGIN, Event.ENROLLED, Event.PORTS_TAKEN)
    assert state.phase is Phase.STARTING_PROXY
    assert commands[-1] is Command.RESTART_PROXY
    _, commands = live(*UP, Event.PORTS_TAKEN)
    assert Command.RESTART_PROXY not in commands


@given(st.lists(st.sampled_from(list(Event)), max_size=40))
def test_whatever_happens_it_can_be_stopped(events: list[Event]) -> None:
    state, _ = live(*events)
    state, _ = live(*DOWN, state=state)
    assert state.phase is Phase.STOPPED


@given(st.lists(st.sampled_from(list(Event)), max_size=40))
def test_health_never_says_more_than_is_known(events: list[Event]) -> None:
    state, announced = State(), "unhealthy"
    for event in events:
        state, commands = step(state, event)
        if Command.ANNOUNCE in commands:
            announced = state.health
        if state.phase not in (Phase.NEW, Phase.ENROLLING) and Command.STOP_PROXY not in commands:
            assert state.health == "draining" or (state.health == "healthy") == (
                state.proxy_ready and state.app_healthy
            )
    assert announced in ("healthy", "unhealthy", "draining")
