"""The generator against a server that misbehaves: nothing that is due is forgotten, and waiting counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from meshwright.cli.traffic import runner as runner_module
from meshwright.cli.traffic.plan import TrafficPlan
from meshwright.cli.traffic.runner import TrafficRun

Answer = Callable[[int], float]
"""How long the request of a number, counted from 0, waits for its answer; below 0: it never gets one."""


@asynccontextmanager
async def server(wait: Answer) -> AsyncIterator[str]:
    """A server that answers everything with 200, or 201 to POST, when it is time to."""
    seen = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        seconds = wait(seen - 1)
        if seconds < 0:
            assert request.transport is not None
            request.transport.close()
        await asyncio.sleep(seconds)
        return web.Response(status=201 if request.method == "POST" else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_what_waits_for_room_counts_its_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "IN_FLIGHT", 1)
    async with server(lambda number: 1.0 if number == 0 else 0.0) as url:
        run = TrafficRun(TrafficPlan(rate=50, seconds=2.0), url)
        await run.send(asyncio.Event())
    counts = run.report()
    assert (counts["planned"], counts["sent"], counts["errors"]) == (100, 100, 0)
    # One request was slow, and with it the fifty that were due meanwhile: half a second on average.
    assert counts["latency_ms"]["max"] - counts["latency_ms"]["p50"] > 300
    late = [run.counters.all.latencies.quantile(share) for share in (0.6, 0.75, 0.9)]
    assert late == sorted(late)
    assert late[1] > 200


async def test_what_is_never_sent_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "IN_FLIGHT", 2)
    monkeypatch.setattr(runner_module, "STOP_SECONDS", 0.3)
    async with server(lambda _: 0.5) as url:
        run = TrafficRun(TrafficPlan(rate=100, seconds=1.0), url)
        await run.send(asyncio.Event())
    counts = run.report()
    assert counts["planned"] == 100
    assert 2 <= counts["sent"] < 10
    assert counts["unsent"] == 100 - counts["sent"]


async def test_a_stop_cuts_off_what_does_not_end_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "STOP_SECONDS", 0.2)
    stop = asyncio.Event()

    def wait(number: int) -> float:
        if number == 25:
            stop.set()
        return 60.0 if number % 2 else 0.0

    async with server(wait) as url:
        run = TrafficRun(TrafficPlan(rate=50), url)
        await run.send(stop)
    counts = run.report()
    assert counts["outcomes"]["cut off"] == counts["errors"] > 5
    assert sum(counts["outcomes"].values()) == counts["sent"] <= counts["planned"]
    assert 0.4 < counts["seconds"] < 30, "what would take a minute was cut off"


async def test_a_lost_connection_and_a_late_answer_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "REQUEST_SECONDS", 4.0)
    async with server(lambda number: {0: -1.0, 1: 60.0}.get(number, 0.0)) as url:
        run = TrafficRun(TrafficPlan(rate=20, seconds=0.5), url)
        await run.send(asyncio.Event())
    outcomes = run.report()["outcomes"]
    assert (outcomes["no answer"], outcomes["timeout"], run.report()["errors"]) == (1, 1, 2)
