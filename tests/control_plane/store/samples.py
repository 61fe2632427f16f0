"""Documents and registrations to store, and how to wait for what comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from meshwright.control_plane.api.models.base import Registration
from meshwright.control_plane.store.revisions import StoredDocument

PATIENCE = 60.0


def retry(name: str, attempts: int = 1, source: str = "") -> StoredDocument:
    """A Retry document."""
    return StoredDocument.from_body(
        {
            "kind": "Retry",
            "apiVersion": "meshwright.io/v1",
            "metadata": {"name": name},
            "spec": {"attempts": attempts},
        },
        source,
    )


def documents(*given: StoredDocument) -> dict[str, StoredDocument]:
    """Documents by their refs."""
    return {document.ref: document for document in given}


def instance(name: str = "orders-1", service: str = "orders", **fields: object) -> Registration:
    """A registration."""
    return Registration.model_validate(
        {"instance": name, "service": service, "address": "127.0.0.1", "port": 15006, **fields}
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> float:
    """Wait for a condition; gives the seconds it took."""
    start = time.monotonic()
    while not await condition():
        assert time.monotonic() - start < PATIENCE, "it did not come"
        await asyncio.sleep(0.02)
    return time.monotonic() - start
