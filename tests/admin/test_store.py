"""The admin API's changes on a real store: compare-and-set, rollback to the very same texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.admin import policies, revisions
from control_plane.admin.mesh import Mesh
from control_plane.admin.revisions import HistoryParams, RevisionParams
from control_plane.admin.routes import NoParams
from control_plane.api.messages import ApplyRequest, RollbackRequest, SourcedDocument
from control_plane.api.types import Status
from control_plane.errors import NotFoundError, RevisionConflict
from control_plane.revisions import StoredRevisions
from control_plane.store.redis import Store
from tests.fakes.mesh import FakeTokens
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
def mesh(store: Store) -> Mesh:
    return Mesh(
        revisions=StoredRevisions(store),
        status=well,
        instances=lambda: (),
        tokens=FakeTokens(),
        now=time.monotonic,
        pause=asyncio.sleep,
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
        documents=(SourcedDocument(document=document, source="r.yaml:1"),), base=base, why="w"
    )


async def test_of_concurrent_applies_on_one_base_one_wins(mesh: Mesh) -> None:
    tries = [policies.apply(mesh, NoParams(), request(n, f"r{n}", base=0)) for n in range(5)]
    ended = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, RevisionConflict) for one in ended) == 4
    assert len((await policies.every(mesh, NoParams(), None)).documents) == 1


async def test_a_rollback_gives_the_same_texts_as_a_new_revision(mesh: Mesh, store: Store) -> None:
    for attempts in (1, 2):
        await policies.apply(mesh, NoParams(), request(attempts))
    again = await policies.apply(mesh, NoParams(), request(2))
    assert (again.revision, again.changed[0].action) == (2, "unchanged")
    back = await revisions.rollback(mesh, RevisionParams(revision=1), RollbackRequest())
    assert back.revision == 3
    first, third = await store.get(1), await store.get(3)
    assert [d.text for d in first.documents.values()] == [d.text for d in third.documents.values()]
    listed = await revisions.history(mesh, HistoryParams(limit=2), None)
    assert [(info.revision, info.why) for info in listed.revisions] == [
        (3, "rollback to revision 1"),
        (2, "w"),
    ]
    with pytest.raises(NotFoundError):
        await revisions.rollback(mesh, RevisionParams(revision=9), RollbackRequest())
