"""Sends the demo's traffic: requests at a fixed rate through its ingress, counted.

The load is open-loop: a request is due at its time whatever became of those before, and its latency counts
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
from meshwright.cli.traffic.people import Person, keep_signed_in, sign_in_all
from meshwright.cli.traffic.plan import USER, TrafficPlan, TrafficRequest, request_sequence
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import MeshError
from meshwright.sidecar.status import AgentStatus

MAX_IN_FLIGHT = 512
"""Maximum requests in flight. Further ones wait, and the wait counts as latency."""

REQUEST_TIMEOUT = 20.0
"""Seconds after which a request is given up: longer than any timeout of the demo's routes."""

STOP_TIMEOUT = 3.0
"""Seconds that requests in flight have to finish after Ctrl-C."""

TERMINAL_INTERVAL, LOG_INTERVAL = 1.0, 10.0
"""Seconds between two progress lines: on a terminal, and in a file or pipe."""

DEMO_SERVICES = frozenset({"catalog", "inventory", "orders", "users"})
"""Services by which a mesh is recognized as the demo."""

ABORTED, TIMED_OUT, NO_RESPONSE = "aborted", "timeout", "no response"
"""Outcomes without a status code."""


async def run_traffic(plan: TrafficPlan, state: Path, stop: asyncio.Event) -> dict[str, Any]:
    """Send traffic to the mesh of `state` until its time is up or `stop` is set; returns the counts.

    Raises CommandError if that mesh is not the demo, and MeshError if the fault cannot be applied.
    """
    base_url = await asyncio.to_thread(_ingress_url, state)
    for name in await asyncio.to_thread(active_faults, state):
        warn(f"note: FaultInjection/{name} is already active: see `mesh get faultinjection`")
    async with open_session(base_url) as session:
        people = await sign_in_all(session)
        return await _run(TrafficRun(plan, session, people), plan, state, stop)


def open_session(base_url: str) -> aiohttp.ClientSession:
    """A session for all requests of a run."""
    session = aiohttp.ClientSession(
        base_url,
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT),
        connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT),
    )
    # aiohttp retries a GET whose connection is lost; here that must count as an error.
    session._retry_connection = False
    return session


async def _run(run: TrafficRun, plan: TrafficPlan, state: Path, stop: asyncio.Event) -> dict[str, Any]:
    fault = asyncio.create_task(
        apply_fault(plan.fault, plan.fault_delay, run.counters, state) if plan.fault else asyncio.sleep(0)
    )
    progress = asyncio.create_task(run.print_progress())
    signed_in = asyncio.create_task(run.keep_signed_in())
    stopping = asyncio.create_task(stop.wait())
    sending = asyncio.create_task(run.send(stop))
    try:
        await asyncio.wait({sending, stopping, fault}, return_when=asyncio.FIRST_COMPLETED)
        if fault.done():
            fault.result()
        await sending
    finally:
        for task in (fault, progress, stopping, sending, signed_in):
            task.cancel()
        await asyncio.gather(progress, stopping, sending, signed_in, return_exceptions=True)
        with suppress(asyncio.CancelledError):
            await fault
    return run.report()


class TrafficRun:
    """One run of traffic by `people` through `session`, whose base URL is that of the ingress."""

    def __init__(self, plan: TrafficPlan, session: aiohttp.ClientSession, people: list[Person]) -> None:
        self.counters = TrafficCounters()
        self._plan = plan
        self._session = session
        self._people = people
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._started = self._ended = asyncio.get_running_loop().time()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def send(self, stop: asyncio.Event) -> None:
        """Send until the time is up or `stop` is set, then wait for the requests in flight."""
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
        for number, request in enumerate(request_sequence(self._plan.seed)):
            offset = number / self._plan.rate
            if offset >= self._plan.seconds:
                await asyncio.sleep(max(0.0, self._started + self._plan.seconds - loop.time()))
                break
            await asyncio.sleep(max(0.0, self._started + offset - loop.time()))
            await self._slots.acquire()
            if loop.time() - self._started >= self._plan.seconds + STOP_TIMEOUT:
                break  # too late: the rest remains unsent
            task = asyncio.create_task(self._send_request(request, self._started + offset))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def keep_signed_in(self) -> None:
        """Refresh the people's tokens until cancelled."""
        await keep_signed_in(self._session, self._people)

    async def _send_request(self, request: TrafficRequest, due: float) -> None:
        outcome, ok = ABORTED, False
        person = self._people[request.person]
        try:
            async with self._session.request(
                request.method,
                request.path.replace(USER, person.id),
                json=request.body,
                headers={**request.headers, **person.headers},
                allow_redirects=False,
            ) as response:
                await response.read()
                outcome, ok = str(response.status), response.status in request.expected_statuses
        except TimeoutError:
            outcome = TIMED_OUT
        except (aiohttp.ClientError, OSError):
            outcome = NO_RESPONSE
        finally:
            self._slots.release()
            self.counters.add(request.route, outcome, ok, due, asyncio.get_running_loop().time())

    def report(self) -> dict[str, Any]:
        """The plan and the counts as JSON."""
        seconds = min(self._ended - self._started, self._plan.seconds)
        planned = max(math.ceil(round(seconds * self._plan.rate, 6)), self.counters.all.sent)
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
            f"{recent.sent / seconds:.1f} requests/s",
            f"errors {recent.errors} (total {self.counters.all.errors})",
            f"p50 {recent.latencies.quantile(0.5):.1f} ms",
            f"p99 {recent.latencies.quantile(0.99):.1f} ms",
            f"in flight {len(self._in_flight)}",
        ]
        if self._plan.fault and self.counters.fault_start <= now < self.counters.fault_end:
            parts.append(f"fault: {self._plan.fault}")
        return " · ".join(parts)


def _ingress_url(state: Path) -> str:
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
