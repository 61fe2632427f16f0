"""The life of one sidecar as a pure state machine: (state, event) to (state, commands).

Up: enrol, start the proxy, wait until it is ready, start the app, wait until it is healthy.
Down: drain (every caller's proxy lets go of it), let what is under way finish, stop the app, deregister,
stop the proxy. Each step down follows the one before, so that no request finds a door just closed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from control_plane.api.types import Health


class Phase(Enum):
    """Where a sidecar stands; the values are what a user reads."""

    NEW = "new"
    ENROLLING = "enrolling"
    STARTING_PROXY = "starting proxy"
    STARTING_APP = "starting app"
    RUNNING = "running"
    DRAINING = "draining"
    FINISHING = "finishing requests"
    STOPPING_APP = "stopping app"
    DEREGISTERING = "deregistering"
    STOPPING_PROXY = "stopping proxy"
    STOPPED = "stopped"


class Event(Enum):
    """What happens to a sidecar."""

    BEGIN = "begin"
    ENROLLED = "enrolled"
    PROXY_READY = "proxy ready"
    PROXY_LOST = "proxy lost"
    PORTS_TAKEN = "ports taken"
    APP_HEALTHY = "app healthy"
    APP_UNHEALTHY = "app unhealthy"
    STOP = "stop"
    DRAINED = "drained"
    QUIET = "quiet"
    APP_STOPPED = "app stopped"
    DEREGISTERED = "deregistered"
    PROXY_STOPPED = "proxy stopped"


class Command(Enum):
    """What the shell is to do; the outcome comes back as an event."""

    ENROL = "enrol"
    START_PROXY = "start proxy"
    RESTART_PROXY = "restart proxy"
    START_APP = "start app"
    ANNOUNCE = "announce"
    DRAIN = "drain"
    FINISH = "finish"
    STOP_APP = "stop app"
    DEREGISTER = "deregister"
    STOP_PROXY = "stop proxy"


_DOWN = (
    Phase.DRAINING,
    Phase.FINISHING,
    Phase.STOPPING_APP,
    Phase.DEREGISTERING,
    Phase.STOPPING_PROXY,
    Phase.STOPPED,
)

_STEPS_DOWN: dict[tuple[Phase, Event], tuple[Phase, tuple[Command, ...]]] = {
    (Phase.DRAINING, Event.DRAINED): (Phase.FINISHING, (Command.FINISH,)),
    (Phase.FINISHING, Event.QUIET): (Phase.STOPPING_APP, (Command.STOP_APP,)),
    (Phase.STOPPING_APP, Event.APP_STOPPED): (Phase.DEREGISTERING, (Command.DEREGISTER,)),
    (Phase.DEREGISTERING, Event.DEREGISTERED): (Phase.STOPPING_PROXY, (Command.STOP_PROXY,)),
    (Phase.STOPPING_PROXY, Event.PROXY_STOPPED): (Phase.STOPPED, ()),
}


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a sidecar: its phase, and whether its two processes are well."""

    phase: Phase = Phase.NEW
    proxy_ready: bool = False
    app_started: bool = False
    app_healthy: bool = False

    @property
    def going_down(self) -> bool:
        """Whether it was told to stop."""
        return self.phase in _DOWN

    @property
    def health(self) -> Health:
        """What the lease says: healthy only while both app and proxy are, and nobody asked it to stop."""
        if self.going_down:
            return "draining"
        return "healthy" if self.proxy_ready and self.app_healthy else "unhealthy"


def step(state: State, event: Event) -> tuple[State, tuple[Command, ...]]:
    """The next state, and what to do about it; an event that means nothing here changes nothing."""
    if event is Event.STOP:
        after, commands = _stop(state)
    elif state.going_down:
        after, commands = _down(state, event)
    else:
        after, commands = _up(state, event)
    if after.health != state.health and after.phase not in (Phase.NEW, Phase.ENROLLING):
        commands = (Command.ANNOUNCE, *commands)
    return after, commands


def _up(state: State, event: Event) -> tuple[State, tuple[Command, ...]]:
    match event:
        case Event.BEGIN if state.phase is Phase.NEW:
            return replace(state, phase=Phase.ENROLLING), (Command.ENROL,)
        case Event.ENROLLED if state.phase is Phase.ENROLLING:
            # Announced before it is healthy: the control plane learns the service's ports, which the
            # inbound listener is made of.
            return replace(state, phase=Phase.STARTING_PROXY), (Command.ANNOUNCE, Command.START_PROXY)
        case Event.PROXY_READY if state.app_started:
            return _settled(replace(state, proxy_ready=True)), ()
        case Event.PROXY_READY if state.phase is Phase.STARTING_PROXY:
            after = replace(state, phase=Phase.STARTING_APP, proxy_ready=True, app_started=True)
            return after, (Command.START_APP,)
        case Event.PROXY_LOST:
            return replace(state, proxy_ready=False), ()
        case Event.PORTS_TAKEN if state.phase is Phase.STARTING_PROXY:
            return State(Phase.STARTING_PROXY), (Command.RESTART_PROXY,)
        case Event.APP_HEALTHY:
            return _settled(replace(state, app_healthy=True)), ()
        case Event.APP_UNHEALTHY:
            return replace(state, app_healthy=False), ()
    return state, ()


def _settled(state: State) -> State:
    return replace(state, phase=Phase.RUNNING) if state.health == "healthy" else state


def _stop(state: State) -> tuple[State, tuple[Command, ...]]:
    if state.going_down:
        return state, ()
    if state.phase in (Phase.NEW, Phase.ENROLLING):
        return replace(state, phase=Phase.STOPPING_PROXY), (Command.STOP_PROXY,)
    return replace(state, phase=Phase.DRAINING), (Command.DRAIN,)


def _down(state: State, event: Event) -> tuple[State, tuple[Command, ...]]:
    phase, commands = _STEPS_DOWN.get((state.phase, event), (state.phase, ()))
    return replace(state, phase=phase), commands
