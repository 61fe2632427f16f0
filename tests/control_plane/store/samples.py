"""Sample documents and registrations, and a way to wait for a condition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from meshwright.control_plane.api.models.instances import Registration
from meshwright.control_plane.store.revisions import StoredDocument

TIMEOUT = 60.0


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


def by_ref(*documents: StoredDocument) -> dict[str, StoredDocument]:
    """Documents by their refs."""
    return {document.ref: document for document in documents}


def instance(name: str = "orders-1", service: str = "orders", **fields: object) -> Registration:
    """A registration."""
    return Registration.model_validate(
        {"instance": name, "service": service, "address": "127.0.0.1", "port": 15006, **fields}
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Poll until the condition is true."""
    deadline = time.monotonic() + TIMEOUT
    while not await condition():
        assert time.monotonic() < deadline, f"not within {TIMEOUT:g} s"
        await asyncio.sleep(0.02)
