"""The traffic runner against a misbehaving server: every due request counts, and so does its waiting time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from meshwright.cli.traffic import runner as traffic_runner
from meshwright.cli.traffic.people import Person
from meshwright.cli.traffic.plan import PEOPLE, TrafficPlan
from meshwright.cli.traffic.runner import TrafficRun, open_session

EVERYBODY = [Person(f"user-{number}", "access", "refresh") for number in range(PEOPLE)]
ResponseDelay = Callable[[int], float]
"""Seconds until the response to the n-th request, counted from 0; below 0: the connection is closed."""


@asynccontextmanager
async def server(delay: ResponseDelay) -> AsyncIterator[str]:
    """A server that responds to everything with 200, or 201 to POST, after a delay; its URL."""
    count = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        seconds = delay(count - 1)
        if seconds < 0:
            assert request.transport is not None
            request.transport.close()
        await asyncio.sleep(seconds)
        return web.Response(status=201 if request.method == "POST" else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_latency_includes_the_wait_for_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_runner, "MAX_IN_FLIGHT", 1)
    async with server(lambda number: 1.0 if number == 0 else 0.0) as url, open_session(url) as session:
        run = TrafficRun(TrafficPlan(rate=50, seconds=2.0), session, EVERYBODY)
        await run.send(asyncio.Event())
    counts = run.report()
    assert (counts["planned"], counts["sent"], counts["errors"]) == (100, 100, 0)
    # One request was slow, and with it the fifty that were due meanwhile: half a second on average.
    assert counts["latency_ms"]["max"] - counts["latency_ms"]["p50"] > 300
    late = [run.counters.all.latencies.quantile(share) for share in (0.6, 0.75, 0.9)]
    assert late == sorted(late)
    assert late[1] > 200


async def test_unsent_requests_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_runner, "MAX_IN_FLIGHT", 2)
    monkeypatch.setattr(traffic_runner, "STOP_TIMEOUT", 0.3)
    async with server(lambda _: 0.5) as url, open_session(url) as session:
        run = TrafficRun(TrafficPlan(rate=100, seconds=1.0), session, EVERYBODY)
        await run.send(asyncio.Event())
    counts = run.report()
    assert counts["planned"] == 100
    assert 2 <= counts["sent"] < 10
    assert counts["unsent"] == 100 - counts["sent"]


async def test_a_stop_aborts_hanging_requests_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_runner, "STOP_TIMEOUT", 0.2)
    stop = asyncio.Event()

    def delay(number: int) -> float:
        if number == 25:
            stop.set()
        return 60.0 if number % 2 else 0.0

    async with server(delay) as url, open_session(url) as session:
        run = TrafficRun(TrafficPlan(rate=50), session, EVERYBODY)
        await run.send(stop)
    counts = run.report()
    assert counts["outcomes"]["aborted"] == counts["errors"] > 5
    assert sum(counts["outcomes"].values()) == counts["sent"] <= counts["planned"]
    assert 0.4 < counts["seconds"] < 30, "requests of a minute were aborted"


async def test_a_closed_connection_and_a_late_response_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_runner, "REQUEST_TIMEOUT", 4.0)
    async with (
        server(lambda number: {0: -1.0, 1: 60.0}.get(number, 0.0)) as url,
        open_session(url) as session,
    ):
        run = TrafficRun(TrafficPlan(rate=20, seconds=0.5), session, EVERYBODY)
        await run.send(asyncio.Event())
    outcomes = run.report()["outcomes"]
    assert (outcomes["no response"], outcomes["timeout"], run.report()["errors"]) == (1, 1, 2)
