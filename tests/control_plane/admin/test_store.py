"""The admin API's changes on a real store: compare-and-set, rollback to the very same texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import NoParams
from meshwright.control_plane.admin.routers import policies, revisions
from meshwright.control_plane.admin.routers.revisions import HistoryParams, RevisionParams
from meshwright.control_plane.api.models.policies import ApplyRequest, DocumentInput, RollbackRequest
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.errors import NotFoundError, RevisionConflictError
from meshwright.control_plane.store.revision_repository import RevisionRepository
from meshwright.control_plane.store.store import Store
from tests.fakes.admin_server import FakeTokens
from tests.fakes.valkey import Valkey


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    valkey = Valkey(tmp_path)
    valkey.start()
    opened = Store(valkey.url, valkey.password)
    try:
        yield opened
    finally:
        await opened.close()
        if valkey.process:
            valkey.process.terminate()
            valkey.process.wait(20)


async def well() -> Status:
    """The status of a mesh without anything in it."""
    return Status(revision=0, store="ok")


@pytest.fixture
def mesh(store: Store) -> AdminContext:
    return AdminContext(
        revisions=RevisionRepository(store),
        status=well,
        instances=lambda: (),
        tokens=FakeTokens(),
        now=time.monotonic,
        sleep=asyncio.sleep,
    )


def request(attempts: int, name: str = "r", base: int | None = None) -> ApplyRequest:
    """An apply of one Retry."""
    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": "Retry",
        "metadata": {"name": name},
        "spec": {"targetRefs": [{"kind": "Service", "name": "inventory"}], "attempts": attempts},
    }
    return ApplyRequest(
        documents=(DocumentInput(document=document, source="r.yaml:1"),), base=base, message="w"
    )


async def test_of_concurrent_applies_on_one_base_one_wins(mesh: AdminContext) -> None:
    tries = [policies.apply(mesh, NoParams(), request(n, f"r{n}", base=0)) for n in range(5)]
    ended = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, RevisionConflictError) for one in ended) == 4
    assert len((await policies.every(mesh, NoParams(), None)).documents) == 1


async def test_a_rollback_gives_the_same_texts_as_a_new_revision(mesh: AdminContext, store: Store) -> None:
    for attempts in (1, 2):
        await policies.apply(mesh, NoParams(), request(attempts))
    again = await policies.apply(mesh, NoParams(), request(2))
    assert (again.revision, again.changed[0].action) == (2, "unchanged")
    back = await revisions.rollback(mesh, RevisionParams(revision=1), RollbackRequest())
    assert back.revision == 3
    first, third = await store.get(1), await store.get(3)
    assert [d.text for d in first.documents.values()] == [d.text for d in third.documents.values()]
    listed = await revisions.history(mesh, HistoryParams(limit=2), None)
    assert [(info.revision, info.message) for info in listed.revisions] == [
        (3, "rollback to revision 1"),
        (2, "w"),
    ]
    with pytest.raises(NotFoundError):
        await revisions.rollback(mesh, RevisionParams(revision=9), RollbackRequest())
