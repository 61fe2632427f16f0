"""Events with a real Valkey: at least once, applied once, and never in the way of each other."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from meshwright.services.events.consumer import DEAD_LETTERS, EventConsumer, EventSubscription, replay
from meshwright.services.events.event import ServiceEvent, to_fields
from meshwright.services.kit.background import background, repeat
from tests.services.exchange_state import is_quiet, query, settled
from tests.services.processes import Broker, Shop, until


def consumer(redis: Redis, name: str, handler: Any) -> EventConsumer:
    return EventConsumer(
        redis, EventSubscription("group", ("a", "b"), handler), name, CollectorRegistry(), retry_ms=1
    )


async def test_poisoned_event_is_buried_and_blocks_nobody(redis: Redis) -> None:
    """What fails again and again is buried too, once another consumer has failed as well."""
    seen: list[str] = []

    async def handle(event: ServiceEvent) -> None:
        seen.append(event.id)
        if event.id == "poison":
            raise RuntimeError("boom")

    for stream, event_id in (("a", "poison"), ("a", "good"), ("b", "other")):
        await redis.xadd(stream, to_fields(ServiceEvent(stream, event_id, {"n": 1})))  # type: ignore[arg-type]
    await redis.xadd("a", {"id": "garbage", "data": "not JSON"})
    consumers = [consumer(redis, name, handle) for name in ("one", "two")]

    async def buried() -> bool:
        for each in consumers:
            await each.run_once()
        return await redis.xlen(DEAD_LETTERS) == 2

    await until(buried)
    entries: Any = await redis.xrange(DEAD_LETTERS)
    letters = {fields["id"]: fields for _, fields in entries}
    assert letters.keys() == {"poison", "garbage"}
    assert letters["poison"]["stream"] == "a"
    assert letters["poison"]["error"] == "failed 8 times"
    assert seen.count("good") == seen.count("other") == 1
    assert seen.count("poison") == 8
    assert (await redis.xpending("a", "group"))["pending"] == 0


async def test_event_of_a_consumer_that_vanished_goes_to_another(redis: Redis) -> None:
    seen: list[str] = []

    async def handle(event: ServiceEvent) -> None:
        seen.append(event.id)

    await redis.xadd("a", to_fields(ServiceEvent("a", "e1", {})))  # type: ignore[arg-type]
    survivor = consumer(redis, "survivor", handle)
    await survivor.run_once()
    await redis.xadd("a", to_fields(ServiceEvent("a", "e2", {})))  # type: ignore[arg-type]
    await redis.xreadgroup("group", "vanished", {"a": ">"})

    async def got_it() -> bool:
        await survivor.run_once()
        return seen == ["e1", "e2"]

    await until(got_it)
    assert await replay(redis, "group", ["a", "b"]) == 2
    await survivor.run_once()
    assert seen == ["e1", "e2", "e1", "e2"]
    await redis.flushall()  # the broker has lost its data, groups included
    await survivor.run_once()
    await redis.xadd("a", to_fields(ServiceEvent("a", "e3", {})))  # type: ignore[arg-type]
    async with background(repeat("consume", 0.1, survivor.run_once)):
        await until(lambda: seen[-1] == "e3")


def figures(shop: Shop) -> list[Any]:
    """The daily figures, added up over days."""
    return query(
        shop,
        "analytics",
        "SELECT sum(created), sum(confirmed), sum(cancelled), sum(revenue) FROM daily_figures",
    )


async def test_orders_go_on_without_a_broker_and_its_events_are_applied_once(
    shop: Shop, broker: Broker, redis: Redis
) -> None:
    """The broker is killed and comes back; analytics loses its figures and gets them again by a replay."""
    environ = {"REDIS_URL": broker.url, "SAGA_LEASE_SECONDS": "1", "SAGA_PATIENCE_SECONDS": "3600"}
    names = ("catalog", "inventory", "payments", "orders", "analytics")
    *_, orders, analytics = await asyncio.gather(*(shop.start(name, **environ) for name in names))
    assert (await shop.order(orders, "k1", {"cold-wallet": 1})).status == 201
    await until(lambda: figures(shop) == [(1, 1, 0, 12_900)])
    await until(lambda: query(shop, "orders", "SELECT count(*) FROM outbox") == [(0,)])
    await broker.kill()
    assert (await shop.order(orders, "k2", {"cold-wallet": 1}, card="tok-declined")).status == 402
    assert (await shop.order(orders, "k3", {"cold-wallet": 2})).status == 201
    health = await shop.call(orders, "GET", "/health")
    assert (health.status, health.body["checks"]["redis"]["status"]) == (503, "unhealthy")
    assert (await shop.call(orders, "GET", "/health/ready")).status == 200
    assert query(shop, "orders", "SELECT count(*) FROM outbox") == [(5,)]  # and the mail
    await broker.start()
    await until(lambda: figures(shop) == [(3, 2, 1, 38_700)])
    await until(lambda: query(shop, "orders", "SELECT count(*) FROM outbox") == [(0,)])

    async def is_caught_up() -> bool:
        health = await shop.call(analytics, "GET", "/health")
        return bool(set(health.body["checks"]["broker"]["backlog"].values()) == {0})

    await until(is_caught_up)
    published: Any = await redis.xrange("order.created")
    [(_, created), *_] = published
    assert created["id"].endswith(":1")
    await until(lambda: is_quiet(shop))
    assert await settled(shop, {"cold-wallet": 1000}) == {"confirmed": 2, "cancelled": 1}

    assert (await shop.call(analytics, "GET", "/api/analytics/daily")).body["days"][-1]["confirmed"] > 0
    with contextlib.closing(sqlite3.connect(shop.folder / "data" / "analytics.db")) as connection, connection:
        connection.execute("DELETE FROM daily_figures")
        connection.execute("DELETE FROM applied_events")
    code, output = await shop.run("analytics", "replay", REDIS_URL=broker.url)
    assert (code, output) == (0, "6 events are delivered to analytics again\n")
    await until(lambda: figures(shop) == [(3, 2, 1, 38_700)])
    assert (await shop.run("analytics", "replay", REDIS_URL=broker.url))[0] == 0
    await until(lambda: figures(shop) == [(3, 2, 1, 38_700)])
