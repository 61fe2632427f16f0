"""Mail for jobs and events, with a real broker and a real SMTP server that come and go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from meshwright.services.events.event import ServiceEvent
from meshwright.services.notifications import domain
from meshwright.services.notifications.jobs import JobWorker
from tests.fakes.ports import free_port
from tests.services.exchange_state import query
from tests.services.processes import Broker, ServiceProcess, Shop, caller, until
from tests.services.span_collector import SpanCollector, span_collector

PASSWORD = "correct horse battery"
ERROR = 2
"""The code of a failed span in OTLP."""


def worker(redis: Redis, name: str, handler: Any) -> JobWorker:
    return JobWorker(redis, "jobs", name, handler, CollectorRegistry(), retry_seconds=0.001)


async def test_job_that_always_fails_is_buried_and_blocks_nobody(redis: Redis) -> None:
    done: list[str] = []

    async def handle(job: Mapping[str, Any]) -> None:
        if job["id"] == "poison":
            raise RuntimeError("boom")
        done.append(job["id"])

    client: Any = redis
    for text in (json.dumps({"id": "poison"}), "not JSON", json.dumps({"id": "good"})):
        await client.lpush("jobs", text)
    first = worker(redis, "one", handle)

    async def buried() -> bool:
        await first.run_once()
        return bool(await client.llen("jobs:dead") == 2)

    await until(buried)
    letters = [json.loads(text) for text in await client.lrange("jobs:dead", 0, -1)]
    assert {letter["error"] for letter in letters} >= {"boom"}
    assert done == ["good"]
    assert await client.llen("jobs:processing:one") == 0


async def test_job_of_a_worker_that_is_gone_is_done_by_another(redis: Redis) -> None:
    done: list[str] = []

    async def handle(job: Mapping[str, Any]) -> None:
        done.append(job["id"])

    client: Any = redis
    await client.lpush("jobs:processing:gone", json.dumps({"id": "left"}))
    await client.set("jobs:worker:busy", "1")
    await client.lpush("jobs:processing:busy", json.dumps({"id": "in hand"}))
    first = worker(redis, "one", handle)

    async def got_it() -> bool:
        await first.run_once()
        return done == ["left"]

    await until(got_it)
    assert await client.llen("jobs:processing:busy") == 1


async def mails(shop: Shop, inbox: ServiceProcess, to: str) -> list[str]:
    """The subjects of the mails to an address."""
    response = await shop.call(inbox, "GET", f"/api/inbox/mails?to={to}")
    return [mail["subject"] for mail in response.body["mails"]]


async def check_notices(shop: Shop, notifications: ServiceProcess, subject: str) -> None:
    """Ada has one notice, which is unread until she says that she has read it. Nobody else may say so."""
    path = "/api/notifications/user/ada"

    async def listed() -> Any:
        """What is recorded: a moment after the mail has arrived."""
        body = (await shop.call(notifications, "GET", path, by=caller("ada"))).body
        return body if body["notifications"] else None

    body = await until(listed)
    assert [sent["subject"] for sent in body["notifications"]] == [subject]
    assert body["unread"] == 1
    assert (await shop.call(notifications, "GET", path, by=caller("bob"))).status == 403
    assert (await shop.call(notifications, "POST", f"{path}/read", by=caller("bob", "admin"))).status == 403
    assert (await shop.call(notifications, "POST", f"{path}/read", by=caller("ada"))).status == 204
    assert (await listed())["unread"] == 0


@pytest.fixture
def collector() -> Iterator[SpanCollector]:
    with span_collector() as collector:
        yield collector


async def test_people_are_welcomed_and_told_of_their_orders_once(
    shop: Shop, broker: Broker, collector: SpanCollector
) -> None:
    """The mail server is away at first."""
    port = free_port()
    environ = {
        "REDIS_URL": broker.url,
        "SMTP_URL": f"smtp://127.0.0.1:{port}",
        "SAGA_LEASE_SECONDS": "1",
        "SAGA_PATIENCE_SECONDS": "3600",
        **collector.environ,
    }
    names = ("catalog", "inventory", "payments", "users", "orders", "notifications")
    *_, users, orders, notifications = await asyncio.gather(*(shop.start(name, **environ) for name in names))
    credentials = {"email": "ada@example.com", "password": PASSWORD}
    user = (await shop.call(users, "POST", "/api/auth/signup", credentials)).body["id"]
    placed = await shop.order(orders, "k", {"cold-wallet": 1}, user="ada")
    await until(lambda: query(shop, "orders", "SELECT count(*) FROM outbox") == [(0,)])

    def failed() -> bool:
        return any(record["event"] == "job failed" for record in notifications.records())

    await until(failed)
    health = await shop.call(notifications, "GET", "/health")
    assert (health.status, health.body["checks"]["smtp"]["status"]) == (503, "unhealthy")
    inbox = await shop.start("inbox", PORT_TCP=str(port))
    subject = f"Your order {placed.body['orderId']} is confirmed"

    async def delivered() -> bool:
        return sorted(await mails(shop, inbox, "ada@example.com")) == sorted(["Welcome", subject])

    await until(delivered)
    await check_notices(shop, notifications, subject)
    welcomed = await shop.call(notifications, "GET", f"/api/notifications/user/{user}")
    assert [sent["kind"] for sent in welcomed.body["notifications"]] == ["welcome"]
    assert (
        await shop.call(inbox, "GET", "/api/inbox/mails?to=ada@example.com", by=caller("bob"))
    ).status == 403
    assert (await shop.call(notifications, "GET", "/health")).status == 200
    await shop.close()
    trace = [span for _, span in collector.trace_of("orders", "POST /api/orders")]
    assert any(span.name == "notification-queue publish" for span in trace)
    attempts = [span.status.code for span in trace if span.name == "notification-queue process"]
    assert (attempts[0], attempts[-1] != ERROR) == (ERROR, True)
    assert [span.status.code == ERROR for span in trace if span.name == "SMTP send"][-1] is False


@pytest.mark.parametrize(
    "job", [{}, {"type": "order-confirmation", "userId": "ada", "orderId": "o", "email": "a@b\r\nBcc: c@d"}]
)
def test_job_that_is_not_valid_is_refused(job: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"email"):
        domain.from_job(job)
    with pytest.raises(ValueError, match=r"email"):
        domain.from_event(ServiceEvent("user.created", "user:1", job))
