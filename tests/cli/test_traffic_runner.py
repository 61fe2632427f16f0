"""The traffic runner against a misbehaving server: every due journey counts, and so does its waiting time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from meshwright.cli.traffic import journeys as traffic_journeys
from meshwright.cli.traffic import people as traffic_people
from meshwright.cli.traffic import runner as traffic_runner
from meshwright.cli.traffic import sender as traffic_sender
from meshwright.cli.traffic.journeys import TrafficRequest
from meshwright.cli.traffic.plan import TrafficPlan
from meshwright.cli.traffic.runner import TrafficRun
from meshwright.cli.traffic.sender import open_session

CLAIMS = base64.urlsafe_b64encode(b'{"sub": "somebody"}').decode().rstrip("=")
TOKENS = {"access_token": f"header.{CLAIMS}.signature", "refresh_token": "refresh"}

ResponseDelay = Callable[[int], float]
"""Seconds until the response to the n-th GET, counted from 0; below 0: the connection is closed."""


@pytest.fixture(autouse=True)
def one_request_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journeys of one request, all by the same person."""
    step = (1.0, lambda _, __: TrafficRequest("GET /", "/"))
    monkeypatch.setattr(traffic_journeys, "STEPS", (step,))
    monkeypatch.setattr(traffic_journeys, "NEWCOMERS", 0.0)


@asynccontextmanager
async def server(
    delay: ResponseDelay, seen: list[web.Request] | None = None, sign_in: int = 200
) -> AsyncIterator[str]:
    """A server that answers those who sign in with `sign_in`, and a GET with 200 after a delay; its URL."""
    count = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal count
        if seen is not None:
            seen.append(request)
        if request.method == "POST":
            is_signup = sign_in == 200 and request.path.endswith("signup")
            return web.json_response(TOKENS, status=201 if is_signup else sign_in)
        count += 1
        seconds = delay(count - 1)
        if seconds < 0:
            assert request.transport is not None
            request.transport.close()
        await asyncio.sleep(seconds)
        return web.Response()

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
        run = TrafficRun(TrafficPlan(seed=1, rate=50, seconds=2.0), session)
        await run.send(asyncio.Event())
    counts = run.report()
    journeys = counts["journeys"]
    assert (journeys["planned"], journeys["started"], journeys["failed"]) == (100, 100, 0)
    # One journey was slow, and with it the fifty that were due meanwhile: half a second on average.
    assert journeys["latency_ms"]["max"] - journeys["latency_ms"]["p50"] > 300
    late = [run.counters.journeys.latencies.quantile(share) for share in (0.6, 0.75, 0.9)]
    assert late == sorted(late)
    assert late[1] > 200


async def test_journeys_that_cannot_start_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_runner, "MAX_IN_FLIGHT", 2)
    monkeypatch.setattr(traffic_runner, "STOP_TIMEOUT", 0.3)
    async with server(lambda _: 0.5) as url, open_session(url) as session:
        run = TrafficRun(TrafficPlan(seed=1, rate=100, seconds=1.0), session)
        await run.send(asyncio.Event())
    counts = run.report()
    assert counts["journeys"]["planned"] == 100
    assert 2 <= counts["journeys"]["started"] < 10
    assert counts["journeys"]["unstarted"] == 100 - counts["journeys"]["started"]


async def test_a_stop_aborts_hanging_requests_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_runner, "STOP_TIMEOUT", 0.2)
    stop = asyncio.Event()

    def delay(number: int) -> float:
        if number == 25:
            stop.set()
        return 60.0 if number % 2 else 0.0

    async with server(delay) as url, open_session(url) as session:
        run = TrafficRun(TrafficPlan(seed=1, rate=50), session)
        await run.send(stop)
    counts = run.report()
    assert counts["outcomes"]["aborted"] == counts["errors"] > 5
    assert sum(counts["outcomes"].values()) == counts["sent"]
    assert counts["journeys"]["failed"] == counts["errors"]
    assert 0.4 < counts["seconds"] < 30, "requests of a minute were aborted"


async def test_a_closed_connection_and_a_late_response_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_sender, "REQUEST_TIMEOUT", 4.0)
    async with (
        server(lambda number: {0: -1.0, 1: 60.0}.get(number, 0.0)) as url,
        open_session(url) as session,
    ):
        run = TrafficRun(TrafficPlan(seed=1, rate=20, seconds=0.5), session)
        await run.send(asyncio.Event())
    outcomes = run.report()["outcomes"]
    assert (outcomes["no response"], outcomes["timeout"], run.report()["errors"]) == (1, 1, 2)


async def test_a_person_signs_up_once_refreshes_tokens_and_is_a_client_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traffic_people, "TOKEN_SECONDS", 0.2)
    seen: list[web.Request] = []
    async with server(lambda _: 0.0, seen) as url, open_session(url) as session:
        run = TrafficRun(TrafficPlan(rate=20, seed=1, seconds=1.0), session)
        await run.send(asyncio.Event())
    posts = [request.path for request in seen if request.method == "POST"]
    assert posts[:2] == ["/api/auth/signup", "/api/auth/login"]
    assert posts[2:] == ["/api/auth/refresh"] * len(posts[2:])
    assert posts[2:], "tokens of 0.2 s were refreshed"
    assert {request.headers["x-forwarded-for"] for request in seen} == {"198.18.0.0"}
    tokens = {request.headers.get("authorization") for request in seen if request.method == "GET"}
    assert tokens == {f"Bearer {TOKENS['access_token']}"}
    assert run.report()["errors"] == 0


async def test_who_cannot_sign_in_fails_the_journey_and_tries_again_with_the_next() -> None:
    async with server(lambda _: 0.0, sign_in=503) as url, open_session(url) as session:
        run = TrafficRun(TrafficPlan(rate=20, seed=1, seconds=0.5), session)
        await run.send(asyncio.Event())
    counts = run.report()
    assert (counts["journeys"]["started"], counts["journeys"]["failed"]) == (10, 10)
    assert counts["routes"].keys() == {"POST /api/auth/signup"}
    assert counts["outcomes"] == {"503": 10}
