"""The life of one sidecar as a pure state machine: (state, event) to (state, commands).

Up: enrol, start the proxy, wait until it is ready, start the app, wait until it is healthy.
Down: drain (callers' proxies stop sending), wait for in-flight requests, stop the app, deregister, stop the
proxy. Each step down waits for the one before, so no request finds its destination gone.
Restart: drain, finish requests and stop the app in the same way, then start it again beside the same proxy.
Processes that an earlier agent left are taken over: what runs counts as ready and healthy until a check says
otherwise, and nothing is restarted or drained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from meshwright.control_plane.api.models.instances import InstanceHealth


class Phase(Enum):
    """Where a sidecar is in its life. Users see the values."""

    NEW = "new"
    ENROLLING = "enrolling"
    STARTING_PROXY = "starting proxy"
    STARTING_APP = "starting app"
    RUNNING = "running"
    DRAINING = "draining"
    DRAINING_REQUESTS = "finishing requests"
    STOPPING_APP = "stopping app"
    DEREGISTERING = "deregistering"
    STOPPING_PROXY = "stopping proxy"
    STOPPED = "stopped"


class LifecycleEvent(Enum):
    """What happens to a sidecar."""

    START = "start"
    ENROLLED = "enrolled"
    PROXY_READY = "proxy ready"
    PROXY_LOST = "proxy lost"
    PORT_CONFLICT = "port conflict"
    APP_HEALTHY = "app healthy"
    APP_UNHEALTHY = "app unhealthy"
    RESTART = "restart"
    STOP = "stop"
    DRAINED = "drained"
    IDLE = "idle"
    APP_STOPPED = "app stopped"
    DEREGISTERED = "deregistered"
    PROXY_STOPPED = "proxy stopped"


class LifecycleCommand(Enum):
    """What the caller of `step` must do. The outcome comes back as an event."""

    ENROL = "enrol"
    START_PROXY = "start proxy"
    RESTART_PROXY = "restart proxy"
    START_APP = "start app"
    REGISTER = "register"
    DRAIN = "drain"
    WAIT_IDLE = "wait idle"
    DRAIN_REQUESTS = "drain requests"
    STOP_APP = "stop app"
    DEREGISTER = "deregister"
    STOP_PROXY = "stop proxy"


_STOPPING_PHASES = (
    Phase.DRAINING,
    Phase.DRAINING_REQUESTS,
    Phase.STOPPING_APP,
    Phase.DEREGISTERING,
    Phase.STOPPING_PROXY,
    Phase.STOPPED,
)

_STOPPING_STEPS: dict[tuple[Phase, LifecycleEvent], tuple[Phase, tuple[LifecycleCommand, ...]]] = {
    (Phase.DRAINING, LifecycleEvent.DRAINED): (Phase.DRAINING_REQUESTS, (LifecycleCommand.DRAIN_REQUESTS,)),
    (Phase.DRAINING_REQUESTS, LifecycleEvent.IDLE): (Phase.STOPPING_APP, (LifecycleCommand.STOP_APP,)),
    (Phase.STOPPING_APP, LifecycleEvent.APP_STOPPED): (Phase.DEREGISTERING, (LifecycleCommand.DEREGISTER,)),
    (Phase.DEREGISTERING, LifecycleEvent.DEREGISTERED): (
        Phase.STOPPING_PROXY,
        (LifecycleCommand.STOP_PROXY,),
    ),
    (Phase.STOPPING_PROXY, LifecycleEvent.PROXY_STOPPED): (Phase.STOPPED, ()),
}


@dataclass(frozen=True, slots=True)
class LifecycleState:
    """The phase of a sidecar, and whether its two processes are healthy.

    `restarting`: it goes down in order to start its app again.
    """

    phase: Phase = Phase.NEW
    proxy_ready: bool = False
    app_started: bool = False
    app_healthy: bool = False
    restarting: bool = False

    @classmethod
    def taken_over(cls, *, proxy: bool, app: bool) -> LifecycleState:
        """The first state of a sidecar of which an earlier agent's processes run."""
        return cls(proxy_ready=proxy, app_started=True, app_healthy=app)

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested; true until the end."""
        return self.phase in _STOPPING_PHASES

    @property
    def ending(self) -> bool:
        """Whether it goes down for good."""
        return self.stopping and not self.restarting

    @property
    def health(self) -> InstanceHealth:
        """The health to register: healthy only while app and proxy both are and no stop was requested."""
        if self.stopping:
            return "draining"
        return "healthy" if self.proxy_ready and self.app_healthy else "unhealthy"


def step(state: LifecycleState, event: LifecycleEvent) -> tuple[LifecycleState, tuple[LifecycleCommand, ...]]:
    """The next state and the commands to run. An event without meaning in this state changes nothing."""
    if event is LifecycleEvent.STOP:
        after, commands = _stop(state)
    elif state.stopping:
        after, commands = _step_stopping(state, event)
    else:
        after, commands = _step_starting(state, event)
    if after.health != state.health and after.phase not in (Phase.NEW, Phase.ENROLLING):
        commands = (LifecycleCommand.REGISTER, *commands)
    return after, commands


def _step_starting(
    state: LifecycleState, event: LifecycleEvent
) -> tuple[LifecycleState, tuple[LifecycleCommand, ...]]:
    match event:
        case LifecycleEvent.START if state.phase is Phase.NEW:
            return replace(state, phase=Phase.ENROLLING), (LifecycleCommand.ENROL,)
        case LifecycleEvent.ENROLLED if state.phase is Phase.ENROLLING:
            return _enrolled(state)
        case LifecycleEvent.PROXY_READY if state.app_started:
            return _running_if_healthy(replace(state, proxy_ready=True)), ()
        case LifecycleEvent.PROXY_READY if state.phase is Phase.STARTING_PROXY:
            after = replace(state, phase=Phase.STARTING_APP, proxy_ready=True, app_started=True)
            return after, (LifecycleCommand.START_APP,)
        case LifecycleEvent.PROXY_LOST:
            return replace(state, proxy_ready=False), ()
        case LifecycleEvent.RESTART if state.app_started:
            return replace(state, phase=Phase.DRAINING, restarting=True), (LifecycleCommand.DRAIN,)
        case LifecycleEvent.PORT_CONFLICT if state.phase is Phase.STARTING_PROXY:
            return LifecycleState(Phase.STARTING_PROXY), (LifecycleCommand.RESTART_PROXY,)
        case LifecycleEvent.APP_HEALTHY:
            return _running_if_healthy(replace(state, app_healthy=True)), ()
        case LifecycleEvent.APP_UNHEALTHY:
            return replace(state, app_healthy=False), ()
    return state, ()


def _enrolled(state: LifecycleState) -> tuple[LifecycleState, tuple[LifecycleCommand, ...]]:
    """Registers while still unhealthy: the control plane needs the service's ports to build its listener."""
    commands = (LifecycleCommand.REGISTER, LifecycleCommand.START_PROXY)
    if not state.app_started:
        return replace(state, phase=Phase.STARTING_PROXY), commands
    adopted = _running_if_healthy(replace(state, phase=Phase.STARTING_APP))
    return adopted, (*commands, LifecycleCommand.START_APP)


def _running_if_healthy(state: LifecycleState) -> LifecycleState:
    return replace(state, phase=Phase.RUNNING) if state.health == "healthy" else state


def _stop(state: LifecycleState) -> tuple[LifecycleState, tuple[LifecycleCommand, ...]]:
    if state.stopping:
        return replace(state, restarting=False), ()
    if state.phase in (Phase.NEW, Phase.ENROLLING):
        return replace(state, phase=Phase.STOPPING_PROXY), (LifecycleCommand.STOP_PROXY,)
    return replace(state, phase=Phase.DRAINING), (LifecycleCommand.DRAIN,)


def _step_stopping(
    state: LifecycleState, event: LifecycleEvent
) -> tuple[LifecycleState, tuple[LifecycleCommand, ...]]:
    if event in (LifecycleEvent.PROXY_READY, LifecycleEvent.PROXY_LOST):
        return replace(state, proxy_ready=event is LifecycleEvent.PROXY_READY), ()
    if state.restarting and event is LifecycleEvent.DRAINED:
        return replace(state, phase=Phase.DRAINING_REQUESTS), (LifecycleCommand.WAIT_IDLE,)
    if state.restarting and event is LifecycleEvent.APP_STOPPED:
        after = replace(state, phase=Phase.STARTING_APP, app_healthy=False, restarting=False)
        return after, (LifecycleCommand.START_APP,)
    phase, commands = _STOPPING_STEPS.get((state.phase, event), (state.phase, ()))
    return replace(state, phase=phase), commands
