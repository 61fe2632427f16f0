"""A firewall forgets the connections to the store: both ends keep them open, and nothing arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store import connection
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import by_ref, instance, retry, until
from tests.fakes.relay import Relay, relay
from tests.fakes.valkey import running_valkey

HEALED = 5 * connection.TIMEOUT
"""Seconds, generously, for what ends after one timeout: the connections that were waited for are given up."""


@pytest.fixture
def between(tmp_path: Path) -> Iterator[tuple[Relay, str]]:
    """A relay in front of a Valkey on TCP, and the URL that leads through it."""
    with running_valkey(tmp_path, tcp=True) as valkey:
        credentials, _, rest = valkey.url.rpartition("@")
        address, _, database = rest.partition("/")
        with relay(address) as server:
            yield server, f"{credentials}@{server.address}/{database}"


@pytest.fixture
async def store(between: tuple[Relay, str]) -> AsyncIterator[Store]:
    """A store whose connections lead through the relay, with all of them in use."""
    store = Store(between[1])
    await store.open()
    await asyncio.gather(*(store.current() for _ in range(connection.CONNECTIONS)))
    yield store
    await store.close()


async def works(store: Store, number: int) -> bool:
    try:
        await store.leases.register(instance(f"orders-{number}"))
    except StoreError:
        return False
    return True


async def test_half_open_connections_are_replaced_within_one_timeout(
    between: tuple[Relay, str], store: Store
) -> None:
    """However many there are, and without a call that waits for longer."""
    server, _ = between
    before = server.accepted
    server.lose_connections()
    start = time.monotonic()
    longest, number = 0.0, 0
    while time.monotonic() - start < HEALED:
        number += 1
        began = time.monotonic()
        healthy = await works(store, number)
        longest = max(longest, time.monotonic() - began)
        if healthy:
            break
    assert healthy, f"not healed within {HEALED:.0f} s, {server.accepted - before} new connections"
    assert longest < HEALED
    results = await asyncio.gather(*(works(store, 100 + each) for each in range(100)))
    assert all(results), f"{results.count(False)} of 100 calls failed after it was back"
    assert store.health.status == "ok"


async def test_watcher_of_changes_reads_on_after_its_connection_is_half_open(
    between: tuple[Relay, str], store: Store
) -> None:
    server, _ = between
    received: list[frozenset[str]] = []

    async def watch() -> None:
        async for kinds in store.changes():
            received.append(kinds)

    task = asyncio.create_task(watch())
    try:

        async def has_more(than: int = 0) -> bool:
            return len(received) > than

        await until(has_more)
        server.lose_connections()
        before = len(received)

        async def committed() -> bool:
            try:
                await store.commit(0, by_ref(retry("a")), "ann", "")
            except StoreError:
                return store.last_seen_revision > 0
            return True

        await until(committed)
        await until(lambda: has_more(before))
        assert "revision" in set().union(*received[before:])
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
