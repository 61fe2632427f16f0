"""A real Valkey for each test, and stores connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from meshwright.control_plane.store.store import Store
from tests.fakes.valkey import Valkey, running_valkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey for this test only."""
    with running_valkey(tmp_path) as valkey:
        yield valkey


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[Store]:
    """An open store with leases of 0.8 s."""
    store = Store(valkey.url, valkey.password, lease_ttl=0.8)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(valkey: Valkey) -> AsyncIterator[Store]:
    """The store as a second control plane sees it."""
    store = Store(valkey.url, valkey.password, lease_ttl=0.8)
    await store.open()
    yield store
    await store.close()
