"""A store's archive: history, tokens and events come back as they were, and so does every resource."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.assemble import Assembler, CanonicalPolicy
from meshwright.control_plane.core.resource import LDS
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.errors import InputError, StoreError
from meshwright.control_plane.policies import registry
from meshwright.control_plane.policies.loader import load
from meshwright.control_plane.policies.schema import dump
from meshwright.control_plane.store import archive
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision
from meshwright.control_plane.store.store import Store
from meshwright.control_plane.verification.scratch_node import scratch_node
from tests.control_plane.core.worlds import HTTP
from tests.control_plane.store.samples import by_ref, retry
from tests.fakes.valkey import Valkey


def examples() -> list[StoredDocument]:
    loaded = [
        item for kind in registry.kinds() for item in load(registry.example(kind).encode(), kind).documents
    ]
    return [StoredDocument.from_body(dump(item.policy), f"{item.path}:{item.line}") for item in loaded]


SERVICES = ("catalog", "inventory", "orders")


def resources(revision: StoredRevision) -> dict[Any, bytes]:
    """The bytes of everything that sidecars and gateways get of a revision, but endpoints."""
    documents = [
        CanonicalPolicy(each.text, each.created, each.generation) for each in revision.documents.values()
    ]
    ports = dict.fromkeys(SERVICES, (HTTP,))
    snapshot = translate(Assembler("mesh.local").world(revision.number, documents, ports, ())).snapshot
    collected = {("", *key): resource.wire for key, resource in snapshot.shared.items()}
    identities = [Identity("mesh.local", "service", name) for name in SERVICES]
    for identity in (*identities, Identity("mesh.local", "gateway", "ingress")):
        node = scratch_node(snapshot, identity)
        collected |= {(identity.name, LDS, name): item.wire for name, item in node.base(LDS).items()}
        for key in snapshot.variants.get(identity.name, {}):
            collected[(identity.name, *key)] = snapshot.variants[identity.name][key].wire
    return collected


async def test_rollback_and_restore_give_the_same_history_and_byte_identical_resources(
    store: Store, other: Store, valkey: Valkey
) -> None:
    first = await store.commit(0, by_ref(*examples()), "ann", "all kinds")
    second = await store.commit(1, by_ref(*examples()[5:]), "bob", "fewer")
    back = await store.commit(2, (await store.get(1)).documents, "ann", "undo")
    assert resources(back) == resources(first) != resources(second)
    history = await store.history()
    revision, entries = await archive.dump_store(valkey.url, valkey.password)
    assert revision == 3
    with pytest.raises(InputError, match="use --force to replace it"):
        await archive.restore_store(valkey.url, valkey.password, entries)
    with valkey.client() as client:
        client.flushall()
    with pytest.raises(StoreError, match="there is no mesh in this store"):
        await archive.dump_store(valkey.url, valkey.password)
    await archive.restore_store(valkey.url, valkey.password, entries)
    assert await other.open() == 3
    assert await other.history() == history
    restored = await other.current()
    assert restored == back
    assert resources(restored) == resources(first)
    assert await other.commit(3, by_ref(retry("a")), "eve", "goes on")


async def test_a_store_that_does_not_take_an_entry_keeps_what_it_has(store: Store, valkey: Valkey) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    _, entries = await archive.dump_store(valkey.url, valkey.password)
    damaged = {**entries, "mesh:root": entries["mesh:revision"][:-1]}
    with pytest.raises(StoreError, match="does not take the backup"):
        await archive.restore_store(valkey.url, valkey.password, damaged, replace=True)
    assert (await store.current()).number == 1
    assert await archive.dump_store(valkey.url, valkey.password) == (1, entries)


async def test_leases_are_no_part_of_an_archive_and_a_forced_restore_replaces_everything(
    store: Store, valkey: Valkey
) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    _, entries = await archive.dump_store(valkey.url, valkey.password)
    with valkey.client() as client:
        client.zadd("mesh:leases", {"orders/orders-1": 1})
        client.set("mesh:limits:x:1", "1", ex=100)
        assert (await archive.dump_store(valkey.url, valkey.password))[1] == entries
        client.set("mesh:another", "mesh")
        await archive.restore_store(valkey.url, valkey.password, entries, replace=True)
        assert not client.exists("mesh:another", "mesh:leases")
