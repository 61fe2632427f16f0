"""Revisions in a real Valkey: atomic, numbered, durable."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from meshwright.control_plane.api.models.push import Push, Withdrawal
from meshwright.control_plane.errors import InputError, NotFoundError, RevisionConflictError
from meshwright.control_plane.push.withdrawal import Withdrawals
from meshwright.control_plane.store import lua
from meshwright.control_plane.store.connection import Connection
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import by_ref, retry
from tests.fakes.valkey import Valkey


async def test_new_mesh_is_revision_zero_without_documents(store: Store) -> None:
    current = await store.current()
    assert (current.number, dict(current.documents)) == (0, {})
    assert await store.history() == ()


async def test_commit_stores_documents_author_and_message(store: Store, other: Store) -> None:
    committed = await store.commit(0, by_ref(retry("a", 2, "a.yaml:3"), retry("b")), "ann", "first ü")
    read = await other.current()
    assert read == committed
    assert read.documents["Retry/a"].source == "a.yaml:3"
    assert (read.info.author, read.info.message) == ("ann", "first ü")
    assert [(document.ref, document.created) for document in read.documents.values()] == [
        ("Retry/a", 1),
        ("Retry/b", 1),
    ]
    assert read.info.time > 1_700_000_000


async def test_exactly_one_of_twenty_commits_on_one_base_wins(store: Store, other: Store) -> None:
    attempts = [
        (store, other)[number % 2].commit(0, by_ref(retry("a", number)), f"author-{number}", "")
        for number in range(20)
    ]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    won = [result for result in results if isinstance(result, StoredRevision)]
    lost = [result for result in results if isinstance(result, RevisionConflictError)]
    assert (len(won), len(lost)) == (1, 19)
    assert {(error.base, error.current) for error in lost} == {(0, 1)}
    assert await store.current() == won[0]
    assert len(await store.history()) == 1


async def test_concurrent_readers_do_not_mistake_progress_for_data_loss(store: Store) -> None:
    async def write() -> None:
        for number in range(60):
            await store.commit(number, by_ref(retry("a", number + 1)), "ann", "")

    async def read() -> None:
        for _ in range(60):
            await store.snapshot()

    await asyncio.gather(write(), *(read() for _ in range(10)))
    assert store.health.status == "ok"


async def test_commit_without_changes_creates_no_revision(store: Store) -> None:
    first = await store.commit(0, by_ref(retry("a", 2, "old.yaml:1")), "ann", "")
    assert await store.commit(1, by_ref(retry("a", 2, "new.yaml:9")), "bob", "again") == first
    assert len(await store.history()) == 1


async def test_commit_on_an_old_revision_is_a_conflict(store: Store) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    with pytest.raises(RevisionConflictError, match="revision 0 is no longer the newest"):
        await store.commit(0, by_ref(retry("b")), "bob", "")
    with pytest.raises(RevisionConflictError):
        await store.commit(7, by_ref(retry("b")), "bob", "")


async def test_created_stays_until_the_document_is_deleted(store: Store) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    await store.commit(1, by_ref(retry("a", 5), retry("b")), "ann", "")
    await store.commit(2, by_ref(retry("b")), "ann", "")
    last = await store.commit(3, by_ref(retry("a"), retry("b")), "ann", "")
    assert {ref: document.created for ref, document in last.documents.items()} == {"Retry/a": 4, "Retry/b": 2}


async def test_rollback_restores_documents_and_created(store: Store, other: Store) -> None:
    second = await store.commit(0, by_ref(retry("a", 2, "a.yaml:1"), retry("b")), "ann", "")
    await store.commit(1, by_ref(retry("b", 9)), "ann", "")
    target = await store.get(1)
    await other.commit(2, target.documents, "bob", "rollback to 1")
    current = await store.current()
    assert current.number == 3
    assert {ref: replace(document, generation=1) for ref, document in current.documents.items()} == dict(
        second.documents
    )
    assert {document.generation for document in current.documents.values()} == {3}
    assert [(change.name, change.action) for change in current.info.changed] == [
        ("a", "created"),
        ("b", "changed"),
    ]


async def test_history_is_paged_newest_first(store: Store) -> None:
    for number in range(7):
        await store.commit(number, by_ref(retry("a", number)), "ann", f"step {number + 1}")
    assert [info.revision for info in await store.history(3)] == [7, 6, 5]
    assert [info.revision for info in await store.history(3, before=5)] == [4, 3, 2]
    assert [info.revision for info in await store.history(50, before=2)] == [1]
    assert await store.history(50, before=1) == ()
    assert (await store.history(1))[0].message == "step 7"
    assert [change.action for change in (await store.history(1))[0].changed] == ["changed"]


async def test_history_says_what_is_on_trial_and_what_was_withdrawn(store: Store) -> None:
    await store.commit(0, by_ref(retry("a", 1)), "ann", "")
    for number in (1, 2):
        await store.commit(number, by_ref(retry("a", number + 1)), "ann", "", on_trial=True)
    states = [(info.revision, info.on_trial, info.withdrawn) for info in await store.history()]
    assert states == [(3, True, ""), (2, True, ""), (1, False, "")]
    withdrawal = Withdrawal(revision=3, stable=1, reason="it does harm")
    await store.commit(3, (await store.get(1)).documents, "ann", "", withdrawal=withdrawal)
    states = [(info.revision, info.on_trial, info.withdrawn) for info in await store.history()]
    assert states == [(4, False, ""), (3, False, "it does harm"), (2, False, "it does harm"), (1, False, "")]
    assert (await store.pushes.read()).stable == 4


async def test_a_revision_in_force_may_still_be_withdrawn(store: Store) -> None:
    await store.commit(0, by_ref(retry("a", 1)), "ann", "")
    for number in (1, 2):
        await store.commit(number, by_ref(retry("a", number + 1)), "ann", "", on_trial=True)
    push = Push(revision=3, phase="after", restores=1)
    assert await store.pushes.promote(await store.pushes.read(), push)
    report = await store.pushes.read()
    assert (report.stable, report.on_trial, report.is_under_way, report.restores) == (3, False, True, 1)
    assert [info.on_trial for info in await store.history()] == [False] * 3
    reports: list[Withdrawal] = []
    withdrawals = Withdrawals(store, lambda withdrawal, _author: reports.append(withdrawal))
    await withdrawals.withdraw(report, "it does harm", "ann")
    assert [(item.revision, item.stable, item.restored) for item in reports] == [(3, 1, 4)]
    states = [(info.revision, info.withdrawn) for info in await store.history()]
    assert states == [(4, ""), (3, "it does harm"), (2, "it does harm"), (1, "")]
    texts = [document.text for document in (await store.current()).documents.values()]
    assert texts == [document.text for document in (await store.get(1)).documents.values()]
    assert not (await store.pushes.read()).is_under_way


async def test_the_watch_of_a_revision_in_force_ends_or_is_replaced(store: Store) -> None:
    await store.commit(0, by_ref(retry("a", 1)), "ann", "")
    await store.commit(1, by_ref(retry("a", 2)), "ann", "", on_trial=True)
    read = await store.pushes.read()
    assert await store.pushes.promote(read, Push(revision=2, phase="after", restores=1))
    assert not await store.pushes.promote(read), "something was written since"
    await store.commit(2, by_ref(retry("a", 3)), "ann", "", on_trial=True)
    report = await store.pushes.read()
    assert (report.stable, report.push, report.restores) == (2, None, 2)
    assert await store.pushes.promote(report, Push(revision=3, phase="after", restores=2))
    assert await store.pushes.promote(await store.pushes.read())
    assert not (await store.pushes.read()).is_under_way


@pytest.mark.parametrize("number", [-1, 1, 10**15])
async def test_missing_revision_is_named(store: Store, number: int) -> None:
    with pytest.raises(NotFoundError, match=f"revision {number}: not found, the newest is 0"):
        await store.get(number)


async def test_revision_zero_can_be_rolled_back_to(store: Store) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    empty = await store.commit(1, (await store.get(0)).documents, "ann", "")
    assert (empty.number, dict(empty.documents)) == (2, {})


async def test_commit_that_is_sent_twice_is_made_once(valkey: Valkey, store: Store) -> None:
    connection = Connection(valkey.url, valkey.password)
    arguments = (lua.FORMAT, 0, "token", "ann", "", "[]", "{}", "", "")
    first = await connection.run_script(lua.COMMIT, *arguments)
    second = await connection.run_script(lua.COMMIT, *arguments)
    rival = await connection.run_script(lua.COMMIT, lua.FORMAT, 0, "another", *arguments[3:])
    await connection.close()
    assert first == second
    assert (first[2], rival[2]) == (1, 0)
    assert (await store.current()).number == 1


async def test_document_under_another_ref_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="is named Retry/a"):
        await store.commit(0, {"Retry/b": retry("a")}, "ann", "")


async def test_altered_text_is_lost(valkey: Valkey, store: Store, other: Store) -> None:
    document = retry("a")
    await store.commit(0, by_ref(document), "ann", "")
    with valkey.client() as client:
        client.set(f"mesh:document:{document.digest}", '{"kind":"Retry"}')
    current = await other.current()
    assert (current.documents, current.lost) == ({}, ("Retry/a",))
    assert "lost the text of Retry/a" in other.health.reason


async def test_thousand_large_documents_fit_in_one_revision(store: Store, other: Store) -> None:
    many = by_ref(
        *(
            StoredDocument.from_body(
                {"kind": "Retry", "metadata": {"name": f"r{number}"}, "spec": {"on": ["x" * 2000]}}
            )
            for number in range(1000)
        )
    )
    await store.commit(0, many, "ann", "")
    assert {ref: document.text for ref, document in (await other.current()).documents.items()} == {
        ref: document.text for ref, document in many.items()
    }
