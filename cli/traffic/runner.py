"""Traffic for a running demo: requests at a fixed rate through its ingress, counted.

The load is open: a request is due when its turn has come, whatever became of those before, and its latency
counts from that moment. A mesh that stalls is therefore seen to stall.
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
from meshwright.cli.traffic import fault as fault_module
from meshwright.cli.traffic.counters import TrafficCounters
from meshwright.cli.traffic.plan import TrafficPlan, TrafficRequest, request_sequence
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import MeshError
from meshwright.sidecar.status import AgentStatus

MAX_IN_FLIGHT = 512
"""Requests under way at a time; those that are due beyond it wait, and their time runs."""

REQUEST_TIMEOUT = 20.0
"""When a request is given up: later than any route of the exchange."""

STOP_TIMEOUT = 3.0
"""What requests under way get to end after Ctrl-C."""

LINE_SECONDS, LOG_SECONDS = 1.0, 10.0
"""How often a terminal, and anything else, is told how it goes."""

DEMO_SERVICES = frozenset({"catalog", "inventory", "orders"})
"""What a mesh must have to be the demo."""


async def run_traffic(wish: TrafficPlan, state: Path, stop: asyncio.Event) -> dict[str, Any]:
    """Send traffic to the mesh of `state` until its time is over or `stop` is set; returns the counts.

    Raises VerbError when that mesh is not the demo, and MeshError when a fault cannot be applied.
    """
    base = await asyncio.to_thread(_ingress_url, state)
    for name in await asyncio.to_thread(fault_module.active_faults, state):
        warn(f"note: FaultInjection/{name} is in force already: see `mesh get faultinjection`")
    run = TrafficRun(wish, base)
    fault = asyncio.create_task(
        fault_module.apply_fault(wish.fault, wish.fault_delay, run.counters, state)
        if wish.fault
        else asyncio.sleep(0)
    )
    telling = asyncio.create_task(run.print_progress())
    stopping = asyncio.create_task(stop.wait())
    sending = asyncio.create_task(run.send(stop))
    try:
        await asyncio.wait({sending, stopping, fault}, return_when=asyncio.FIRST_COMPLETED)
        if fault.done():
            fault.result()
        await sending
    finally:
        for task in (fault, telling, stopping, sending):
            task.cancel()
        await asyncio.gather(telling, stopping, sending, return_exceptions=True)
        with suppress(asyncio.CancelledError):
            await fault
    return run.report()


class TrafficRun:
    """One run of traffic against `base`, the ingress's URL."""

    def __init__(self, wish: TrafficPlan, base: str) -> None:
        self.counters = TrafficCounters()
        self._plan = wish
        self._base = base
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._started = self._ended = asyncio.get_running_loop().time()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def send(self, stop: asyncio.Event) -> None:
        """Send until the time is over or `stop` is set, then wait for what is under way."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT)
        connector = aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)
        async with aiohttp.ClientSession(self._base, timeout=timeout, connector=connector) as session:
            # aiohttp sends a GET again when its connection is lost; here that is a failure to be counted.
            session._retry_connection = False
            dispatching = asyncio.create_task(self._dispatch(session))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({dispatching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._ended = asyncio.get_running_loop().time()
            dispatching.cancel()
            await asyncio.wait({dispatching})
            landing = asyncio.create_task(self._drain())
            await asyncio.wait({landing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({landing}, timeout=STOP_TIMEOUT)
            for task in (landing, stopping, *self._in_flight):
                task.cancel()
            await asyncio.gather(landing, stopping, *self._in_flight, return_exceptions=True)
            if not dispatching.cancelled():
                dispatching.result()

    async def _drain(self) -> None:
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def _dispatch(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        for number, request in enumerate(request_sequence(self._plan.seed)):
            offset = number / self._plan.rate
            if offset >= self._plan.seconds:
                await asyncio.sleep(max(0.0, self._started + self._plan.seconds - loop.time()))
                break
            await asyncio.sleep(max(0.0, self._started + offset - loop.time()))
            await self._slots.acquire()
            if loop.time() - self._started >= self._plan.seconds + STOP_TIMEOUT:
                break  # so far behind that the rest stays unsent
            task = asyncio.create_task(self._send_request(session, request, self._started + offset))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _send_request(
        self, session: aiohttp.ClientSession, request: TrafficRequest, due: float
    ) -> None:
        outcome, fine = "cut off", False
        try:
            async with session.request(
                request.method,
                request.path,
                json=request.body,
                headers=request.headers,
                allow_redirects=False,
            ) as answer:
                await answer.read()
                outcome, fine = str(answer.status), answer.status in request.expected_statuses
        except TimeoutError:
            outcome = "timeout"
        except (aiohttp.ClientError, OSError):
            outcome = "no answer"
        finally:
            self._slots.release()
            self.counters.add(request.route, outcome, fine, due, asyncio.get_running_loop().time())

    def report(self) -> dict[str, Any]:
        """What was wanted and what was counted."""
        seconds = min(self._ended - self._started, self._plan.seconds)
        planned = max(math.ceil(round(seconds * self._plan.rate, 6)), self.counters.all.sent)
        fault = str(self._plan.fault) if self._plan.fault else ""
        wanted = {"seed": self._plan.seed, "rate": self._plan.rate, "seconds": round(seconds, 3)}
        return {**wanted, **self.counters.report(planned, fault)}

    async def print_progress(self) -> None:
        """Tell on stderr how it goes: one line that changes on a terminal, now and then a line elsewhere."""
        live = sys.stderr.isatty()
        every = LINE_SECONDS if live else LOG_SECONDS
        try:
            while True:
                await asyncio.sleep(every)
                sys.stderr.write(
                    f"\r\x1b[K{self._progress_line(every)}" if live else f"{self._progress_line(every)}\n"
                )
                sys.stderr.flush()
        finally:
            if live:
                sys.stderr.write("\n")

    def _progress_line(self, seconds: float) -> str:
        lately = self.counters.take_recent()
        now = asyncio.get_running_loop().time()
        parts = [
            f"{now - self._started:.0f} s",
            f"{lately.sent / seconds:.1f} requests/s",
            f"errors {lately.errors} (all {self.counters.all.errors})",
            f"p50 {lately.latencies.quantile(0.5):.1f} ms",
            f"p99 {lately.latencies.quantile(0.99):.1f} ms",
            f"under way {len(self._in_flight)}",
        ]
        if self._plan.fault and self.counters.fault_start <= now < self.counters.fault_end:
            parts.append(f"{self._plan.fault.service} {self._plan.fault.kind}s")
        return " · ".join(parts)


def _ingress_url(state: Path) -> str:
    """The URL of the demo's ingress; raises VerbError when the mesh of `state` is not the demo."""
    there = {one["name"] for one in call_api(calls.status(), state)["services"]}
    if missing := DEMO_SERVICES - there:
        words = f"the mesh in {state} is not the demo: it has no {', '.join(sorted(missing))}"
        raise CommandError(errors.FAILED, f"{words}: stop it with `mesh down`, or choose another --state")
    try:
        agent = AgentStatus.model_validate_json((state / "agent.json").read_bytes())
    except (OSError, ValueError) as error:
        raise CommandError(
            errors.FAILED, f"{state}: its agent says nothing yet ({error}): try again"
        ) from None
    for workload in agent.workloads:
        if workload.role == "gateway" and "gateway.http" in workload.ports:
            return f"http://127.0.0.1:{workload.ports['gateway.http']}"
    raise MeshError(f"the mesh in {state} has no gateway")
