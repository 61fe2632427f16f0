"""Answers that come too late for proxies are counted, and are a problem in `mesh status`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import grpc
import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.limits import metrics
from meshwright.control_plane.limits.late import LateAnswers, late_problem
from meshwright.control_plane.limits.service import METHOD, SERVICE, RateLimitService
from meshwright.control_plane.store.limit_counters import Grant
from tests.control_plane.core.worlds import exchange, mesh
from tests.control_plane.limits.test_table import INVENTORY, SPEC, descriptor

if TYPE_CHECKING:
    from meshwright.control_plane.callers import CallerCheck
    from meshwright.control_plane.limits.batches import LimitBatches

WINDOW = 0.02


async def reports_of(late: int, in_time: int) -> str:
    """What is reported at the end of the first window."""
    reported: asyncio.Queue[str] = asyncio.Queue()
    answers = LateAnswers(reported.put_nowait, WINDOW)
    for number in range(late + in_time):
        answers.add(late=number < late)
    return await asyncio.wait_for(reported.get(), 60)


@pytest.mark.parametrize(
    ("late", "in_time", "is_problem"),
    [(0, 5, False), (2, 0, False), (3, 0, True), (3, 297, True), (3, 298, False), (4, 396, True)],
)
async def test_late_answers_are_a_problem_from_a_number_and_a_share_on(
    late: int, in_time: int, is_problem: bool
) -> None:
    expected = late_problem(late, late + in_time, WINDOW) if is_problem else ""
    assert await reports_of(late, in_time) == expected


async def test_problem_ends_without_further_answers() -> None:
    reported: asyncio.Queue[str] = asyncio.Queue()
    answers = LateAnswers(reported.put_nowait, WINDOW)
    for _ in range(3):
        answers.add(late=True)
    assert "3 of 3 answers" in await asyncio.wait_for(reported.get(), 60)
    assert await asyncio.wait_for(reported.get(), 60) == ""


class Caller:
    """Whoever calls is a sidecar of inventory."""

    identity = Identity("mesh.local", "service", "inventory")

    def identify(self, _context: object) -> Caller:
        return self


class SilentStore:
    """Never answers."""

    async def take(self, _bucket: object, _hits: int) -> Grant:
        return await asyncio.Future[Grant]()


async def test_question_that_a_proxy_gave_up_counts_as_late() -> None:
    world = exchange(mesh("RateLimit", "shop0", SPEC, INVENTORY))
    service = RateLimitService(
        cast("CallerCheck", Caller()), lambda: world, cast("LimitBatches", SilentStore()), print
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service.handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    late = metrics.FAILURES.labels("late")
    before = late._value.get()
    question = v3.RateLimitRequest(descriptors=[descriptor("shop0/0", "/a")]).SerializeToString()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(f"/{SERVICE}/{METHOD}", bytes, bytes)
        async with asyncio.timeout(60):
            # The first ones may be given up before they arrive.
            while late._value.get() == before:
                with pytest.raises(grpc.aio.AioRpcError) as failure:
                    await ask(question, timeout=0.1)
                assert failure.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await server.stop(None)
