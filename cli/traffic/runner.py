"""Sends the demo's traffic: journeys of people at a fixed rate through its ingress, counted.

The load is open-loop: a journey is due at its time whatever became of those before, and its latency counts
from then. A mesh that stalls is therefore seen to stall.
"""

from __future__ import annotations

import asyncio
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from meshwright.cli.errors import CommandError, warn
from meshwright.cli.http import call_api
from meshwright.cli.traffic.counters import TrafficCounters
from meshwright.cli.traffic.fault import active_faults, apply_fault
from meshwright.cli.traffic.journeys import Journey, journeys
from meshwright.cli.traffic.people import People
from meshwright.cli.traffic.plan import DEMO_SERVICES, TrafficPlan
from meshwright.cli.traffic.sender import MAX_IN_FLIGHT, RequestSender, open_session
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import MeshError
from meshwright.sidecar.status import AgentStatus

STOP_TIMEOUT = 3.0
"""Seconds that journeys in flight have to finish after Ctrl-C."""

TERMINAL_INTERVAL, LOG_INTERVAL = 1.0, 10.0
"""Seconds between two progress lines: on a terminal, and in a file or pipe."""


async def run_traffic(plan: TrafficPlan, state: Path, stop: asyncio.Event) -> dict[str, Any]:
    """Send traffic to the mesh of `state` until its time is up or `stop` is set; returns the counts.

    Raises CommandError if that mesh is not the demo, and MeshError if the fault cannot be applied.
    """
    base_url = await asyncio.to_thread(ingress_url, state)
    for name in await asyncio.to_thread(active_faults, state):
        warn(f"note: FaultInjection/{name} is already active: see `mesh get faultinjection`")
    warn(f"note: --seed {plan.seed} makes the same journeys again")
    async with open_session(base_url) as session:
        await People(RequestSender(session, TrafficCounters()), plan.seed).wait_until_accepted()
        return await _run(TrafficRun(plan, session), plan, state, stop)


async def _run(run: TrafficRun, plan: TrafficPlan, state: Path, stop: asyncio.Event) -> dict[str, Any]:
    fault = asyncio.create_task(
        apply_fault(plan.fault, plan.fault_delay, run.counters, state) if plan.fault else asyncio.sleep(0)
    )
    progress = asyncio.create_task(run.print_progress())
    stopping = asyncio.create_task(stop.wait())
    sending = asyncio.create_task(run.send(stop))
    try:
        await asyncio.wait({sending, stopping, fault}, return_when=asyncio.FIRST_COMPLETED)
        if fault.done():
            fault.result()
        await sending
    finally:
        for task in (fault, progress, stopping, sending):
            task.cancel()
        await asyncio.gather(progress, stopping, sending, return_exceptions=True)
        with suppress(asyncio.CancelledError):
            await fault
    return run.report()


class TrafficRun:
    """One run of traffic through `session`, whose base URL is that of the ingress."""

    def __init__(self, plan: TrafficPlan, session: aiohttp.ClientSession) -> None:
        self.counters = TrafficCounters()
        self._plan = plan
        self._sender = RequestSender(session, self.counters)
        self._people = People(self._sender, plan.seed)
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._started = self._ended = asyncio.get_running_loop().time()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def send(self, stop: asyncio.Event) -> None:
        """Send until the time is up or `stop` is set, then wait for the journeys in flight."""
        dispatching = asyncio.create_task(self._dispatch())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({dispatching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._ended = asyncio.get_running_loop().time()
        dispatching.cancel()
        await asyncio.wait({dispatching})
        draining = asyncio.create_task(self._drain())
        await asyncio.wait({draining, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({draining}, timeout=STOP_TIMEOUT)
        for task in (draining, stopping, *self._in_flight):
            task.cancel()
        await asyncio.gather(draining, stopping, *self._in_flight, return_exceptions=True)
        if not dispatching.cancelled():
            dispatching.result()

    async def _drain(self) -> None:
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        for number, journey in enumerate(journeys(self._plan.seed)):
            offset = number / self._plan.rate
            if offset >= self._plan.seconds:
                await asyncio.sleep(max(0.0, self._started + self._plan.seconds - loop.time()))
                break
            await asyncio.sleep(max(0.0, self._started + offset - loop.time()))
            await self._slots.acquire()
            if loop.time() - self._started >= self._plan.seconds + STOP_TIMEOUT:
                break  # too late: the rest remains unstarted
            task = asyncio.create_task(self._make(journey, self._started + offset))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _make(self, journey: Journey, due: float) -> None:
        """Send the requests of a journey one after the other. Whoever cannot sign in goes away."""
        loop, start, ok = asyncio.get_running_loop(), due, False
        try:
            if signed_in := await self._people.signed_in(journey.person, due):
                (person, due), is_ok = signed_in, True
                for request in journey.requests:
                    response = await self._sender.send(request, person, due)
                    is_ok, due = is_ok and response.ok, loop.time()
                ok = is_ok
        finally:
            self._slots.release()
            self.counters.journeys.add(ok, (loop.time() - start) * 1000)

    def report(self) -> dict[str, Any]:
        """The plan and the counts as JSON."""
        seconds = min(self._ended - self._started, self._plan.seconds)
        planned = max(math.ceil(round(seconds * self._plan.rate, 6)), self.counters.journeys.sent)
        fault = str(self._plan.fault) if self._plan.fault else ""
        plan = {"seed": self._plan.seed, "rate": self._plan.rate, "seconds": round(seconds, 3)}
        return {**plan, **self.counters.report(planned, fault)}

    async def print_progress(self) -> None:
        """Print progress to stderr: a line that is updated on a terminal, else a line now and then."""
        is_terminal = sys.stderr.isatty()
        interval = TERMINAL_INTERVAL if is_terminal else LOG_INTERVAL
        try:
            while True:
                await asyncio.sleep(interval)
                line = self._progress_line(interval)
                sys.stderr.write(f"\r\x1b[K{line}" if is_terminal else f"{line}\n")
                sys.stderr.flush()
        finally:
            if is_terminal:
                sys.stderr.write("\n")

    def _progress_line(self, seconds: float) -> str:
        recent = self.counters.take_recent()
        now = asyncio.get_running_loop().time()
        parts = [
            f"{now - self._started:.0f} s",
            f"journeys {self.counters.journeys.sent} (failed {self.counters.journeys.errors})",
            f"{recent.sent / seconds:.1f} requests/s",
            f"errors {recent.errors} (total {self.counters.all.errors})",
            f"p50 {recent.latencies.quantile(0.5):.1f} ms",
            f"p99 {recent.latencies.quantile(0.99):.1f} ms",
            f"in flight {len(self._in_flight)}",
        ]
        if self._plan.fault and self.counters.fault_start <= now < self.counters.fault_end:
            parts.append(f"fault: {self._plan.fault}")
        return " · ".join(parts)


def ingress_url(state: Path) -> str:
    """The URL of the demo's ingress; raises CommandError if the mesh of `state` is not the demo."""
    services = {service["name"] for service in call_api(calls.status(), state)["services"]}
    if missing := DEMO_SERVICES - services:
        raise CommandError(
            errors.FAILED,
            f"the mesh in {state} is not the demo: it has no {', '.join(sorted(missing))}: "
            "stop it with `mesh down`, or choose another --state",
        )
    try:
        agent = AgentStatus.model_validate_json((state / "agent.json").read_bytes())
    except (OSError, ValueError) as error:
        raise CommandError(
            errors.FAILED, f"{state}: the agent has not reported its status yet ({error}): try again"
        ) from None
    for workload in agent.workloads:
        if workload.role == "gateway" and "gateway.http" in workload.ports:
            return f"http://127.0.0.1:{workload.ports['gateway.http']}"
    raise MeshError(f"the mesh in {state} has no gateway")
