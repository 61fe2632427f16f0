"""The store: policies as revisions, instances as leases, what changed as a stream, in any Redis or Valkey.

`Store` is what the rest of the control plane knows. It never believes a store that has forgotten: once a
revision was seen, a lower one (or none) is an error, not an empty mesh.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from meshwright.control_plane.api.models.base import Port, Registration, RevisionInfo
from meshwright.control_plane.errors import NotFoundError, RevisionConflictError, StoreError
from meshwright.control_plane.store import leases, lua, revisions
from meshwright.control_plane.store.connection import Connection, StoreHealth
from meshwright.control_plane.store.control_planes import ControlPlaneRegistry
from meshwright.control_plane.store.events import EventStream
from meshwright.control_plane.store.lua import Script
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision
from meshwright.control_plane.store.tokens import JoinTokenStore

ALL_CHANGES = frozenset({"revision", "instances", "tokens"})
BLOCK_MS = 1000
"""How long one read of the stream waits; below the connection's timeout."""
READ_COUNT = 500
RETRY_DELAYS = (0.05, 1.0)
"""Seconds between tries while the store is away: the first, the longest."""
HISTORY_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class StoredState:
    """All that is stored, read at one instant. `services` are sorted by name, with their ports."""

    revision: StoredRevision
    services: Mapping[str, tuple[Port, ...]]
    registrations: tuple[Registration, ...]


class Store:
    """One mesh's store. Every method raises StoreError when the store is away or is not ours."""

    def __init__(self, url: str, password: str = "", *, lease_ttl: float = leases.LEASE_TTL) -> None:
        """Does not connect yet. `lease_ttl` is in seconds. Raises InputError for a URL that is none."""
        self._connection = Connection(url, password)
        self._cached_revision = revisions.EMPTY
        self._cached_fields: list[Any] = []
        self._problem: StoreHealth | None = None
        self.leases = leases.Leases(self._connection, lease_ttl)
        self.tokens = JoinTokenStore(self._run)
        self.events = EventStream(self._connection, self._run)
        self.control_planes = ControlPlaneRegistry(self._run)
        self.last_seen_revision = 0

    @property
    def health(self) -> StoreHealth:
        """Whether the store answers, and holds what it should."""
        return self._problem or self._connection.health

    async def open(self, min_revision: int = 0) -> int:
        """Make an empty store ours, or see that it is; gives the newest revision's number.

        `expect_at_least` is the newest revision the caller remembers from an earlier life: a store that has
        less has lost data. Raises StoreError.
        """
        self.last_seen_revision = max(self.last_seen_revision, min_revision)
        fresh = "1" if self.last_seen_revision == 0 else ""
        _, newest = await self._run(lua.OPEN, lua.FORMAT, fresh)
        return int(newest)

    async def close(self) -> None:
        """Close every connection."""
        await self._connection.close()

    async def current(self) -> StoredRevision:
        """The newest revision."""
        return (await self._read(with_instances=False)).revision

    async def snapshot(self) -> StoredState:
        """The newest revision and everything registered, read at one instant."""
        return await self._read(with_instances=True)

    async def get(self, number: int) -> StoredRevision:
        """A revision by its number; raises NotFoundError when there is none."""
        _, newest, fields, _, _ = await self._run(lua.READ, max(number, 0), "")
        if number == 0:
            return revisions.EMPTY
        if not 0 < number <= newest:
            raise NotFoundError(
                f"revision {number}: there is none, the newest is {newest}; see `mesh history`"
            )
        return await self._load_revision(number, fields)

    async def history(self, limit: int = 50, before: int | None = None) -> tuple[RevisionInfo, ...]:
        """At most `limit` (1 to 1000) revisions below `before`, newest first, without revision 0."""
        limit = min(max(limit, 1), HISTORY_LIMIT)
        below = "" if before is None else max(before, 0)
        _, _, found = await self._run(lua.HISTORY, limit, below)
        return tuple(revisions.parse_info(*fields) for fields in found)

    async def commit(
        self, base: int, documents: Mapping[str, StoredDocument], author: str, why: str
    ) -> StoredRevision:
        """Make `documents` (by `Kind/name`) the newest revision, if `base` still is it.

        Gives the newest revision as it is when that changes nothing; a moved `source` alone is no change. A
        rollback is a commit of an earlier revision's documents. Raises RevisionConflict, InputError. After a
        StoreError the commit may have been made: `current()` tells.
        """
        revisions.validate_commit(documents, author, why)
        newest = await self.current()
        if newest.number != base:
            raise RevisionConflictError(base, newest.number)
        planned = revisions.plan_commit(newest, documents)
        if not planned.changed:
            return newest
        _, before, number, made = await self._run(
            lua.COMMIT,
            lua.FORMAT,
            base,
            secrets.token_hex(16),
            author,
            why,
            revisions.serialize_changes(planned.changed),
            revisions.serialize_documents(planned.documents),
            *(word for pair in planned.new_texts.items() for word in pair),
        )
        if not number:
            raise RevisionConflictError(base, before)
        self.last_seen_revision = max(self.last_seen_revision, number)
        info = RevisionInfo(
            revision=number, author=author, message=why, time=made / 1000, changed=planned.changed
        )
        return StoredRevision(info, planned.documents)

    async def services(self) -> Mapping[str, tuple[Port, ...]]:
        """Every service that ever registered, with its ports, sorted by name."""
        return (await self.snapshot()).services

    async def changes(self) -> AsyncIterator[frozenset[str]]:
        """What changed, for ever: sets of what EVERYTHING holds, those of one moment together.

        Everything once at the start, after the store was away, and when more changed than is worth reading.
        Never raises for a store that is away: it waits and tries again (`state` tells).
        """
        position, pause = "", RETRY_DELAYS[0]
        while True:
            try:
                if not position:
                    position = await self._last_change_id()
                    yield ALL_CHANGES
                entries = await self._changes_after(position)
            except StoreError:
                position = ""
                await asyncio.sleep(pause)
                pause = min(pause * 2, RETRY_DELAYS[1])
                continue
            pause = RETRY_DELAYS[0]
            if entries:
                position = entries[-1][0]
                kinds = frozenset(fields.get("kind", "") for _, fields in entries) & ALL_CHANGES
                yield ALL_CHANGES if len(entries) >= READ_COUNT else kinds

    async def _last_change_id(self) -> str:
        """The id of the stream's last entry."""
        last = await self._connection.execute("XREVRANGE", lua.CHANGES, "+", "-", "COUNT", 1)
        return str(last[0][0]) if last else "0-0"

    async def _changes_after(self, after: str) -> list[tuple[str, dict[str, str]]]:
        """Entries after an id; waits up to BLOCK_MS for the first."""
        found = await self._connection.execute(
            "XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS", lua.CHANGES, after
        )
        return list(found[0][1]) if found else []

    async def _read(self, *, with_instances: bool) -> StoredState:
        if self.last_seen_revision == 0:
            await self.open()
        _, newest, fields, ports, registered = await self._run(lua.READ, "", "1" if with_instances else "")
        if newest == 0:
            self._cached_revision = revisions.EMPTY
        elif (newest, fields) != (self._cached_revision.number, self._cached_fields):
            self._cached_revision, self._cached_fields = await self._load_revision(newest, fields), fields
        revision = self._cached_revision
        registrations = leases.parse_registrations(registered)
        stored = dict(zip(ports[::2], ports[1::2], strict=True))
        services = MappingProxyType(leases.parse_services(stored, registrations))
        return StoredState(revision, services, registrations)

    async def _load_revision(self, number: int, fields: list[Any]) -> StoredRevision:
        """A revision from its stored fields; texts that the last one held are not fetched again."""
        if None in fields:
            raise StoreError(f"the store lost revision {number}: restore it from a backup")
        author, why, made, changed, listed = fields
        texts = {document.digest: document.text for document in self._cached_revision.documents.values()}
        missing = sorted(revisions.parse_digests(listed) - texts.keys())
        if missing:
            found = await self._connection.execute("MGET", *(f"mesh:doc:{digest}" for digest in missing))
            texts.update({digest: text or "" for digest, text in zip(missing, found, strict=True)})
        info = revisions.parse_info(number, author, why, made, changed)
        return StoredRevision(info, revisions.parse_documents(listed, texts))

    async def _run(self, script: Script, *arguments: str | int) -> list[Any]:
        """Run a step whose answer begins with format and newest revision, and check these.

        The newest must be at least what was known before asking: answers may overtake each other.
        """
        known = self.last_seen_revision
        answer: list[Any] = await self._connection.run_script(script, *arguments)
        problem = self._inconsistency(answer[0], answer[1], known)
        if problem:
            since = self._problem.since if self._problem else time.time()
            self._problem = StoreHealth("degraded", since, problem)
            raise StoreError(problem)
        self._problem = None
        self.last_seen_revision = max(self.last_seen_revision, answer[1])
        return answer

    def _inconsistency(self, form: str, newest: int, known: int) -> str:
        """Why the store cannot be believed; empty when it can."""
        where = f"the store at {self._connection.address}"
        if form.isdecimal() and int(form) > lua.FORMAT:
            return f"{where} holds format {form}, this control plane reads {lua.FORMAT}: update it"
        if known > max(newest, 0):
            held = f"revision {newest}" if newest >= 0 else "no mesh"
            return f"{where} holds {held}, but revision {known} was known: it lost data, restore it"
        if newest < 0 or form != str(lua.FORMAT):
            return f"{where} holds a part of a mesh only: it lost data; restore it, or name another store"
        return ""
