"""Answers that come too late for proxies are counted, and are a problem in `mesh status`."""

from __future__ import annotations

import asyncio
import time
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


@pytest.mark.parametrize(
    ("late", "total", "stalled", "is_problem"),
    [
        (0, 5, 0.0, False),
        (2, 2, 0.0, False),
        (3, 3, 0.0, True),
        (3, 300, 0.0, True),
        (3, 301, 0.0, False),
        (4, 400, 0.0, True),
        (0, 5, 0.4, False),
        (0, 5, 0.5, True),
    ],
)
def test_late_answers_and_stalls_are_a_problem_from_a_share_on(
    late: int, total: int, stalled: float, is_problem: bool
) -> None:
    problem = late_problem(late, total, stalled, 10)
    assert bool(problem) is is_problem
    if is_problem:
        assert f"stood still for {stalled:.1f} s, and {late} of {total} answers" in problem


async def test_problem_ends_without_further_answers() -> None:
    reported: asyncio.Queue[str] = asyncio.Queue()
    answers = LateAnswers(reported.put_nowait, WINDOW)
    for _ in range(3):
        answers.add(late=True)
    assert "3 of 3 answers" in await asyncio.wait_for(reported.get(), 60)
    async with asyncio.timeout(60):
        while await reported.get():  # a busy machine may stall once more
            pass


async def test_control_plane_that_stands_still_is_a_problem_though_it_sees_no_late_question() -> None:
    reported: asyncio.Queue[str] = asyncio.Queue()
    LateAnswers(reported.put_nowait, 0.5).add(late=False)
    await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251  nothing else runs meanwhile
    assert "0 of 1 answers" in await asyncio.wait_for(reported.get(), 60)


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
        cast("CallerCheck", Caller()), lambda: (world,), cast("LimitBatches", SilentStore()), print
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
