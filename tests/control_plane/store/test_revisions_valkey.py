"""Revisions in a real Valkey: atomic, numbered, kept."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.errors import InputError, NotFoundError, RevisionConflictError, StoreError
from meshwright.control_plane.store import lua
from meshwright.control_plane.store.connection import Connection
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import documents, retry
from tests.fakes.valkey import Valkey


async def test_new_mesh_is_revision_zero_without_documents(store: Store) -> None:
    current = await store.current()
    assert (current.number, dict(current.documents)) == (0, {})
    assert await store.history() == ()


async def test_commit_keeps_documents_author_and_reason(store: Store, other: Store) -> None:
    made = await store.commit(0, documents(retry("a", 2, "a.yaml:3"), retry("b")), "ann", "first ü")
    read = await other.current()
    assert read == made
    assert read.documents["Retry/a"].source == "a.yaml:3"
    assert (read.info.author, read.info.message) == ("ann", "first ü")
    assert [(one.ref, one.created) for one in read.documents.values()] == [("Retry/a", 1), ("Retry/b", 1)]
    assert read.info.time > 1_700_000_000


async def test_of_twenty_commits_on_one_base_exactly_one_wins(store: Store, other: Store) -> None:
    attempts = [
        (store, other)[number % 2].commit(0, documents(retry("a", number)), f"author-{number}", "")
        for number in range(20)
    ]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    won = [result for result in results if isinstance(result, StoredRevision)]
    lost = [result for result in results if isinstance(result, RevisionConflictError)]
    assert (len(won), len(lost)) == (1, 19)
    assert {(error.base, error.current) for error in lost} == {(0, 1)}
    assert await store.current() == won[0]
    assert len(await store.history()) == 1


async def test_concurrent_readers_never_take_progress_for_loss(store: Store) -> None:
    async def write() -> None:
        for number in range(60):
            await store.commit(number, documents(retry("a", number + 1)), "ann", "")

    async def read() -> None:
        for _ in range(60):
            await store.snapshot()

    await asyncio.gather(write(), *(read() for _ in range(10)))
    assert store.health.status == "ok"


async def test_commit_that_changes_nothing_makes_no_revision(store: Store) -> None:
    first = await store.commit(0, documents(retry("a", 2, "old.yaml:1")), "ann", "")
    assert await store.commit(1, documents(retry("a", 2, "new.yaml:9")), "bob", "again") == first
    assert len(await store.history()) == 1


async def test_change_based_on_an_old_revision_is_refused(store: Store) -> None:
    await store.commit(0, documents(retry("a")), "ann", "")
    with pytest.raises(RevisionConflictError, match="revision 0 is no longer the newest"):
        await store.commit(0, documents(retry("b")), "bob", "")
    with pytest.raises(RevisionConflictError):
        await store.commit(7, documents(retry("b")), "bob", "")


async def test_created_stays_while_the_document_does(store: Store) -> None:
    await store.commit(0, documents(retry("a")), "ann", "")
    await store.commit(1, documents(retry("a", 5), retry("b")), "ann", "")
    await store.commit(2, documents(retry("b")), "ann", "")
    last = await store.commit(3, documents(retry("a"), retry("b")), "ann", "")
    assert {ref: one.created for ref, one in last.documents.items()} == {"Retry/a": 4, "Retry/b": 2}


async def test_rollback_gives_the_very_documents_and_their_age(store: Store, other: Store) -> None:
    second = await store.commit(0, documents(retry("a", 2, "a.yaml:1"), retry("b")), "ann", "")
    await store.commit(1, documents(retry("b", 9)), "ann", "")
    wanted = await store.get(1)
    await other.commit(2, wanted.documents, "bob", "rollback to 1")
    back = await store.current()
    assert back.number == 3
    assert dict(back.documents) == dict(second.documents)
    assert [(one.name, one.action) for one in back.info.changed] == [("a", "created"), ("b", "changed")]


async def test_history_is_read_in_pages_newest_first(store: Store) -> None:
    for number in range(7):
        await store.commit(number, documents(retry("a", number)), "ann", f"step {number + 1}")
    assert [info.revision for info in await store.history(3)] == [7, 6, 5]
    assert [info.revision for info in await store.history(3, before=5)] == [4, 3, 2]
    assert [info.revision for info in await store.history(50, before=2)] == [1]
    assert await store.history(50, before=1) == ()
    assert (await store.history(1))[0].message == "step 7"
    assert [one.action for one in (await store.history(1))[0].changed] == ["changed"]


@pytest.mark.parametrize("number", [-1, 1, 10**15])
async def test_revision_that_is_not_there_is_named(store: Store, number: int) -> None:
    with pytest.raises(NotFoundError, match=f"revision {number}: there is none, the newest is 0"):
        await store.get(number)


async def test_revision_zero_can_be_rolled_back_to(store: Store) -> None:
    await store.commit(0, documents(retry("a")), "ann", "")
    empty = await store.commit(1, (await store.get(0)).documents, "ann", "")
    assert (empty.number, dict(empty.documents)) == (2, {})


async def test_commit_sent_twice_is_made_once(valkey: Valkey, store: Store) -> None:
    connection = Connection(valkey.url, valkey.password)
    words = (lua.FORMAT, 0, "token", "ann", "", "[]", "{}")
    first = await connection.run_script(lua.COMMIT, *words)
    second = await connection.run_script(lua.COMMIT, *words)
    rival = await connection.run_script(lua.COMMIT, lua.FORMAT, 0, "another", *words[3:])
    await connection.close()
    assert first == second
    assert (first[2], rival[2]) == (1, 0)
    assert (await store.current()).number == 1


async def test_document_under_another_name_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="calls itself Retry/a"):
        await store.commit(0, {"Retry/b": retry("a")}, "ann", "")


async def test_text_that_was_lost_or_changed_is_an_error(valkey: Valkey, store: Store, other: Store) -> None:
    document = retry("a")
    await store.commit(0, documents(document), "ann", "")
    with valkey.client() as client:
        client.set(f"mesh:doc:{document.digest}", '{"kind":"Retry"}')
    with pytest.raises(StoreError, match="lost the text of Retry/a"):
        await other.current()


async def test_thousand_large_documents_are_one_revision(store: Store, other: Store) -> None:
    many = documents(
        *(
            StoredDocument.from_body(
                {"kind": "Retry", "metadata": {"name": f"r{number}"}, "spec": {"on": ["x" * 2000]}}
            )
            for number in range(1000)
        )
    )
    await store.commit(0, many, "ann", "")
    assert {ref: one.text for ref, one in (await other.current()).documents.items()} == {
        ref: one.text for ref, one in many.items()
    }
