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

from cli import traffic_fault
from cli.connection import ask
from cli.failing import VerbError, warn
from cli.traffic_plan import Request, Wish, requests
from cli.traffic_tally import Tally
from control_plane.api import failures, operations
from control_plane.errors import MeshError
from sidecar.status import AgentStatus

IN_FLIGHT = 512
"""Requests under way at a time; those that are due beyond it wait, and their time runs."""

REQUEST_SECONDS = 20.0
"""When a request is given up: later than any route of the exchange."""

STOP_SECONDS = 3.0
"""What requests under way get to end after Ctrl-C."""

LINE_SECONDS, LOG_SECONDS = 1.0, 10.0
"""How often a terminal, and anything else, is told how it goes."""

SERVICES = frozenset({"catalog", "inventory", "orders"})
"""What a mesh must have to be the demo."""


async def drive(wish: Wish, state: Path, stop: asyncio.Event) -> dict[str, Any]:
    """Send traffic to the mesh of `state` until its time is over or `stop` is set; returns the counts.

    Raises VerbError when that mesh is not the demo, and MeshError when a fault cannot be applied.
    """
    base = await asyncio.to_thread(_ingress, state)
    for name in await asyncio.to_thread(traffic_fault.in_force, state):
        warn(f"note: FaultInjection/{name} is in force already: see `mesh get faultinjection`")
    run = Run(wish, base)
    fault = asyncio.create_task(
        traffic_fault.inflict(wish.fault, wish.lead, run.tally, state) if wish.fault else asyncio.sleep(0)
    )
    telling = asyncio.create_task(run.tell())
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


class Run:
    """One run of traffic against `base`, the ingress's URL."""

    def __init__(self, wish: Wish, base: str) -> None:
        self.tally = Tally()
        self._wish = wish
        self._base = base
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._begun = self._ended = asyncio.get_running_loop().time()
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(self, stop: asyncio.Event) -> None:
        """Send until the time is over or `stop` is set, then wait for what is under way."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
        async with aiohttp.ClientSession(self._base, timeout=timeout, connector=connector) as session:
            # aiohttp sends a GET again when its connection is lost; here that is a failure to be counted.
            session._retry_connection = False
            dispatching = asyncio.create_task(self._dispatch(session))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({dispatching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._ended = asyncio.get_running_loop().time()
            dispatching.cancel()
            await asyncio.wait({dispatching})
            landing = asyncio.create_task(self._land())
            await asyncio.wait({landing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({landing}, timeout=STOP_SECONDS)
            for task in (landing, stopping, *self._under_way):
                task.cancel()
            await asyncio.gather(landing, stopping, *self._under_way, return_exceptions=True)
            if not dispatching.cancelled():
                dispatching.result()

    async def _land(self) -> None:
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _dispatch(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        for number, request in enumerate(requests(self._wish.seed)):
            offset = number / self._wish.rate
            if offset >= self._wish.seconds:
                await asyncio.sleep(max(0.0, self._begun + self._wish.seconds - loop.time()))
                break
            await asyncio.sleep(max(0.0, self._begun + offset - loop.time()))
            await self._room.acquire()
            if loop.time() - self._begun >= self._wish.seconds + STOP_SECONDS:
                break  # so far behind that the rest stays unsent
            task = asyncio.create_task(self._one(session, request, self._begun + offset))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _one(self, session: aiohttp.ClientSession, request: Request, due: float) -> None:
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
                outcome, fine = str(answer.status), answer.status in request.fine
        except TimeoutError:
            outcome = "timeout"
        except (aiohttp.ClientError, OSError):
            outcome = "no answer"
        finally:
            self._room.release()
            self.tally.add(request.route, outcome, fine, due, asyncio.get_running_loop().time())

    def report(self) -> dict[str, Any]:
        """What was wanted and what was counted."""
        seconds = min(self._ended - self._begun, self._wish.seconds)
        planned = max(math.ceil(round(seconds * self._wish.rate, 6)), self.tally.all.sent)
        fault = str(self._wish.fault) if self._wish.fault else ""
        wanted = {"seed": self._wish.seed, "rate": self._wish.rate, "seconds": round(seconds, 3)}
        return {**wanted, **self.tally.report(planned, fault)}

    async def tell(self) -> None:
        """Tell on stderr how it goes: one line that changes on a terminal, now and then a line elsewhere."""
        live = sys.stderr.isatty()
        every = LINE_SECONDS if live else LOG_SECONDS
        try:
            while True:
                await asyncio.sleep(every)
                sys.stderr.write(f"\r\x1b[K{self._line(every)}" if live else f"{self._line(every)}\n")
                sys.stderr.flush()
        finally:
            if live:
                sys.stderr.write("\n")

    def _line(self, seconds: float) -> str:
        lately = self.tally.take_lately()
        now = asyncio.get_running_loop().time()
        parts = [
            f"{now - self._begun:.0f} s",
            f"{lately.sent / seconds:.1f} requests/s",
            f"errors {lately.errors} (all {self.tally.all.errors})",
            f"p50 {lately.latencies.at(0.5):.1f} ms",
            f"p99 {lately.latencies.at(0.99):.1f} ms",
            f"under way {len(self._under_way)}",
        ]
        if self._wish.fault and self.tally.fault_from <= now < self.tally.fault_to:
            parts.append(f"{self._wish.fault.service} {self._wish.fault.kind}s")
        return " · ".join(parts)


def _ingress(state: Path) -> str:
    """The URL of the demo's ingress; raises VerbError when the mesh of `state` is not the demo."""
    there = {one["name"] for one in ask(operations.status(), state)["services"]}
    if missing := SERVICES - there:
        words = f"the mesh in {state} is not the demo: it has no {', '.join(sorted(missing))}"
        raise VerbError(failures.FAILED, f"{words}: stop it with `mesh down`, or choose another --state")
    try:
        agent = AgentStatus.model_validate_json((state / "agent.json").read_bytes())
    except (OSError, ValueError) as error:
        raise VerbError(
            failures.FAILED, f"{state}: its agent says nothing yet ({error}): try again"
        ) from None
    for workload in agent.workloads:
        if workload.role == "gateway" and "gateway.http" in workload.ports:
            return f"http://127.0.0.1:{workload.ports['gateway.http']}"
    raise MeshError(f"the mesh in {state} has no gateway")
