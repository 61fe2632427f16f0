"""Changes through the admin API on a real store: compare-and-set, rollback to identical texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.route import NoBody, NoParams
from meshwright.control_plane.admin.routers.policies import PoliciesRouter
from meshwright.control_plane.admin.routers.revisions import HistoryParams, RevisionsRouter, RollbackParams
from meshwright.control_plane.api.models.policies import ApplyRequest, DocumentInput, RollbackRequest
from meshwright.control_plane.core.revision import PolicyRevision
from meshwright.control_plane.errors import NotFoundError, RevisionConflictError
from meshwright.control_plane.store.revision_repository import RevisionRepository
from meshwright.control_plane.store.store import Store
from tests.fakes.admin_server import FakeMesh
from tests.fakes.valkey import Valkey


@dataclass
class Routers:
    """The routers under test, over one store."""

    store: Store
    policies: PoliciesRouter
    revisions: RevisionsRouter


@pytest.fixture
async def routers(tmp_path: Path) -> AsyncIterator[Routers]:
    valkey = Valkey(tmp_path)
    valkey.start()
    store = Store(valkey.url, valkey.password)
    repository, preview = RevisionRepository(store), FakeMesh(tmp_path)
    try:
        yield Routers(store, PoliciesRouter(repository, preview), RevisionsRouter(repository, preview))
    finally:
        await store.close()
        if valkey.process:
            valkey.process.terminate()
            valkey.process.wait(20)


def request(attempts: int, name: str = "r", base: int | None = None) -> ApplyRequest:
    """An apply of one Retry."""
    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": "Retry",
        "metadata": {"name": name},
        "spec": {"targetRefs": [{"kind": "Service", "name": "inventory"}], "attempts": attempts},
    }
    return ApplyRequest(
        documents=(DocumentInput(document=document, source="r.yaml:1"),), base=base, message="m"
    )


async def test_of_concurrent_applies_on_one_base_exactly_one_succeeds(routers: Routers) -> None:
    applies = [routers.policies.apply(NoParams(), request(n, f"r{n}", base=0)) for n in range(5)]
    results = await asyncio.gather(*applies, return_exceptions=True)
    assert sum(isinstance(result, RevisionConflictError) for result in results) == 4
    assert len((await routers.policies.policies(NoParams(), NoBody())).documents) == 1


async def test_a_rollback_commits_the_same_texts_as_a_new_revision(routers: Routers) -> None:
    for attempts in (1, 2):
        await routers.policies.apply(NoParams(), request(attempts))
    repeated = await routers.policies.apply(NoParams(), request(2))
    assert (repeated.revision, repeated.changed[0].action) == (2, "unchanged")
    rolled_back = await routers.revisions.rollback(RollbackParams(revision=1), RollbackRequest())
    assert rolled_back.revision == 3
    first, third = await routers.store.get(1), await routers.store.get(3)
    assert [d.text for d in first.documents.values()] == [d.text for d in third.documents.values()]
    history = await routers.revisions.history(HistoryParams(limit=2), NoBody())
    assert [(info.revision, info.message) for info in history.revisions] == [
        (3, "rollback to revision 1"),
        (2, "m"),
    ]
    with pytest.raises(NotFoundError):
        await routers.revisions.rollback(RollbackParams(revision=9), RollbackRequest())


class OvertakenRepository(RevisionRepository):
    """Another client replaces the keys between each reading of an apply and its commit."""

    async def current(self) -> PolicyRevision:
        """The newest revision, which is no longer that when this returns."""
        read = await super().current()
        other = PoliciesRouter(RevisionRepository(self._store), self.preview)
        self.count += 1
        await other.apply(NoParams(), keys(f"shop:{self.count:016}"))
        return read

    def __init__(self, store: Store, preview: FakeMesh) -> None:
        super().__init__(store)
        self.preview, self.count = preview, 0


def keys(text: str, retargeted: bool = False) -> ApplyRequest:
    """An apply of one APIKeyAuthentication."""
    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": "APIKeyAuthentication",
        "metadata": {"name": "k"},
        "spec": {
            "targetRefs": [{"kind": "Service", "name": "orders" if retargeted else "inventory"}],
            "keys": {"inline": text},
        },
    }
    return ApplyRequest(documents=(DocumentInput(document=document, source="k.yaml:1"),))


async def test_what_was_read_redacted_is_applied_again_with_the_secret_of_the_mesh(routers: Routers) -> None:
    apply = routers.policies.apply
    with pytest.raises(DocumentsError):
        await apply(NoParams(), keys("<redacted>"))
    await apply(NoParams(), keys("shop:0123456789abcdef"))
    (shown,) = (await routers.policies.policies(NoParams(), NoBody())).documents
    again = await apply(NoParams(), ApplyRequest(documents=(DocumentInput(document=shown),)))
    assert (again.revision, again.changed[0].action) == (1, "unchanged")
    edited = await apply(NoParams(), keys("<redacted>", retargeted=True))
    assert (edited.revision, edited.changed[0].action) == (2, "changed")
    await apply(NoParams(), keys("shop:fedcba9876543210"))
    await routers.revisions.rollback(RollbackParams(revision=2), RollbackRequest())
    texts = [d.text for d in (await routers.store.get(4)).documents.values()]
    assert len(texts) == 1 and "shop:0123456789abcdef" in texts[0] and "orders" in texts[0]


async def test_a_change_that_keeps_a_secret_loses_to_one_that_replaces_the_secret(
    routers: Routers, tmp_path: Path
) -> None:
    await routers.policies.apply(NoParams(), keys("shop:0123456789abcdef"))
    preview = FakeMesh(tmp_path)
    overtaken = PoliciesRouter(OvertakenRepository(routers.store, preview), preview)
    with pytest.raises(RevisionConflictError):
        await overtaken.apply(NoParams(), keys("<redacted>", retargeted=True))
    (text,) = (document.text for document in (await routers.store.current()).documents.values())
    assert "0123456789abcdef" not in text and "inventory" in text


async def test_only_the_first_revision_of_a_staged_mesh_is_in_force_at_once(
    routers: Routers, tmp_path: Path
) -> None:
    policies = PoliciesRouter(RevisionRepository(routers.store, staged=True), FakeMesh(tmp_path))
    for attempts, on_trial in ((1, False), (2, True)):
        response = await policies.apply(NoParams(), request(attempts))
        report = await routers.store.pushes.read()
        assert response.on_trial is on_trial
        assert (report.newest, report.stable) == (attempts, 1)
