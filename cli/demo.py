"""`mesh demo`: the demo shop, optionally with traffic and a fault."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import redirect_stdout

from meshwright.cli.application import read_application
from meshwright.cli.foreground import WhileRunning, run_mesh, stop_event
from meshwright.cli.launch_ports import settle_ports
from meshwright.cli.launcher import LaunchPlan
from meshwright.cli.options import StateOption
from meshwright.cli.reconcile.options import ReadyTimeoutOption
from meshwright.cli.state_lock import StateLock, holder
from meshwright.cli.story.options import RATE, PaceOption, StoryOption, story_pace
from meshwright.cli.traffic.options import (
    DurationOption,
    FaultOption,
    SeedOption,
    TrafficOption,
    traffic_plan,
)
from meshwright.cli.traffic.plan import TrafficPlan
from meshwright.cli.up import (
    DetachOption,
    PortOption,
    Ports,
    PortsOption,
    ScaleOption,
    application_to_run,
    demo_application_file,
    launch_plan,
    up,
)


def demo(
    *,
    traffic: TrafficOption = None,
    seed: SeedOption = None,
    seconds: DurationOption = None,
    fault: FaultOption = "",
    story: StoryOption = False,
    pace: PaceOption = None,
    scale: ScaleOption = [],  # noqa: B006  typer copies it
    port: PortOption = [],  # noqa: B006  typer copies it
    ports: PortsOption = Ports.fixed,
    detach: DetachOption = False,
    timeout: ReadyTimeoutOption = 60.0,
    state: StateOption = None,
) -> None:
    """Start the demo: a small shop whose services call each other through their sidecars.

    --traffic makes N journeys a second through its ingress: people sign up, browse, order, pay (a few cards
    are declined or slow) and look at their dashboard. It prints counts as JSON at the end. It uses a demo
    that is already running; otherwise one is started and stopped afterwards. --fault applies a
    FaultInjection policy after 5 s of traffic and always deletes it. --story plays a tour under such
    traffic: a slow service, a breaker that opens, a refused policy, a canary, a rollback, and in each what to
    look at in `mesh dash`. It deletes its policies at the end.

    \b
    Example:
      mesh demo
      curl http://127.0.0.1:8080/api/catalog/products
      mesh demo --scale orders=3 --scale payments=2
      mesh demo --state .second --ports auto
      mesh demo --traffic 5
      mesh demo --traffic 5 --for 30s --fault inventory:fail:5s > counts.json
      mesh demo --story
    """
    file = demo_application_file()
    services = frozenset(entry.name for entry in read_application(file).spec.services)
    tour = story_pace(story, pace, seconds=seconds, fault=fault)
    rate = RATE if tour and traffic is None else traffic
    requested = traffic_plan(rate, seed=seed, seconds=seconds, fault=fault, detach=detach, services=services)
    if requested:
        plan = launch_plan(application_to_run(file, "", scale, port), state, timeout)
        if tour:
            _play_story(requested, tour, plan, ports)
        else:
            _send_traffic(requested, plan, ports)
        return
    up(
        str(file),
        only="",
        scale=scale,
        port=port,
        ports=ports,
        detach=detach,
        timeout=timeout,
        ready_fd=-1,
        state=state,
    )


def _send_traffic(requested: TrafficPlan, plan: LaunchPlan, ports: Ports) -> None:
    """Send traffic to the mesh of this state, starting one if needed. The counts go to stdout."""
    from meshwright.cli.traffic.runner import run_traffic

    state, out = plan.settings.state, sys.stdout

    async def send(stop: asyncio.Event) -> None:
        counts = await run_traffic(requested, state, stop)
        out.write(json.dumps(counts, indent=2) + "\n")
        out.flush()

    with redirect_stdout(sys.stderr):
        _while_running(plan, ports, send)


def _play_story(requested: TrafficPlan, pace: float, plan: LaunchPlan, ports: Ports) -> None:
    """Play the tour on the mesh of this state, starting one if needed."""
    from meshwright.cli.story.player import play

    async def tell(stop: asyncio.Event) -> None:
        await play(requested, pace, plan.settings.state, stop)

    _while_running(plan, ports, tell)


def _while_running(plan: LaunchPlan, ports: Ports, while_running: WhileRunning) -> None:
    """Run something on the mesh of this state, or on one that is started for it and stopped afterwards."""
    if holder(plan.settings.state) is not None:
        asyncio.run(_until_signal(while_running))
        return
    lock = StateLock(plan.settings.state)
    try:
        asyncio.run(run_mesh(settle_ports(plan, auto=ports is Ports.auto), -1, while_running))
    finally:
        lock.release()


async def _until_signal(while_running: WhileRunning) -> None:
    await while_running(stop_event())
