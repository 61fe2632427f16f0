"""The store: policies as revisions, instances as leases, changes as a stream, in any Redis or Valkey.

`Store` is what the rest of the control plane uses. It does not trust a store that lost data: once a revision
was seen, a lower one (or none) is an error, not an empty mesh.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from meshwright.control_plane.api.models.instances import Port, Registration
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.core.world import Departure
from meshwright.control_plane.errors import NotFoundError, RevisionConflictError, StoreError
from meshwright.control_plane.store import leases, lua, revisions
from meshwright.control_plane.store.connection import Connection, StoreHealth
from meshwright.control_plane.store.control_planes import ControlPlaneRegistry
from meshwright.control_plane.store.events import EventStream
from meshwright.control_plane.store.evictions import EvictionStore
from meshwright.control_plane.store.lua import Script
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision
from meshwright.control_plane.store.tokens import JoinTokenStore

ALL_CHANGES = frozenset({"revision", "instances", "tokens", "evictions"})
BLOCK_MS = 1000
"""How long one read of the stream waits; below the connection's timeout."""
READ_COUNT = 500
RETRY_DELAYS = (0.05, 1.0)
"""Seconds between attempts while the store is unavailable: the first, the longest."""
HISTORY_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class StoredState:
    """Everything that is stored, read at one instant. `services` are sorted by name, with their ports.

    `departures` are those of services that an instance has left since the last one joined.
    """

    revision: StoredRevision
    services: Mapping[str, tuple[Port, ...]]
    registrations: tuple[Registration, ...]
    departures: Mapping[str, Departure] = field(default_factory=dict)


class Store:
    """One mesh's store. Every method raises StoreError when the store is unavailable or inconsistent."""

    def __init__(
        self,
        url: str,
        password: str = "",
        *,
        lease_ttl: float = leases.LEASE_TTL,
        idle_ttl: float = leases.IDLE_TTL,
    ) -> None:
        """Does not connect yet. `lease_ttl` and `idle_ttl` are in seconds. Raises InputError for an invalid URL."""
        self._connection = Connection(url, password)
        self._cached_revision = revisions.EMPTY
        self._cached_fields: list[Any] = []
        self._problem: StoreHealth | None = None
        self.leases = leases.Leases(self._connection, lease_ttl, idle_ttl)
        self.silent_leases = SilentLeases(self._connection, lease_ttl)
        self.tokens = JoinTokenStore(self._run)
        self.evictions = EvictionStore(self._run)
        self.events = EventStream(self._connection, self._run)
        self.control_planes = ControlPlaneRegistry(self._run)
        self.last_seen_revision = 0

    @property
    def health(self) -> StoreHealth:
        """Whether the store replies and its data is consistent."""
        return self._problem or self._connection.health

    async def open(self, min_revision: int = 0) -> int:
        """Initialize an empty store, or check an initialized one; returns the newest revision's number.

        `min_revision` is the newest revision that the caller has seen before, in an earlier process too: a
        store with a lower one has lost data. Raises StoreError.
        """
        self.last_seen_revision = max(self.last_seen_revision, min_revision)
        may_initialize = "1" if self.last_seen_revision == 0 else ""
        _, newest = await self._run(lua.OPEN, lua.FORMAT, may_initialize)
        return int(newest)

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def current(self) -> StoredRevision:
        """The newest revision."""
        return (await self._read(with_instances=False)).revision

    async def snapshot(self) -> StoredState:
        """The newest revision and all registrations, read at one instant."""
        return await self._read(with_instances=True)

    async def get(self, number: int) -> StoredRevision:
        """A revision by its number; raises NotFoundError when it does not exist."""
        _, newest, fields, _, _ = await self._run(lua.READ, max(number, 0), "")
        if number == 0:
            return revisions.EMPTY
        if not 0 < number <= newest:
            raise NotFoundError(f"revision {number}: not found, the newest is {newest}; see `mesh history`")
        return await self._load_revision(number, fields)

    async def history(self, limit: int = 50, before: int | None = None) -> tuple[RevisionInfo, ...]:
        """At most `limit` (1 to 1000) revisions below `before`, newest first, without revision 0."""
        limit = min(max(limit, 1), HISTORY_LIMIT)
        below = "" if before is None else max(before, 0)
        _, _, records = await self._run(lua.HISTORY, limit, below)
        return tuple(revisions.parse_info(*record) for record in records)

    async def commit(
        self, base: int, documents: Mapping[str, StoredDocument], author: str, message: str
    ) -> StoredRevision:
        """Make `documents` (by `Kind/name`) the next revision, if `base` is still the newest.

        Returns the newest revision when the commit changes nothing; a different `source` alone is no change.
        A rollback is a commit of an earlier revision's documents. Raises RevisionConflictError, InputError.
        After a StoreError the commit may have been made: check `current()`.
        """
        revisions.validate_commit(documents, author, message)
        newest = await self.current()
        if newest.number != base:
            raise RevisionConflictError(base, newest.number)
        plan = revisions.plan_commit(newest, documents)
        if not plan.changed:
            return newest
        _, before, number, committed_at = await self._run(
            lua.COMMIT,
            lua.FORMAT,
            base,
            secrets.token_hex(16),
            author,
            message,
            revisions.serialize_changes(plan.changed),
            revisions.serialize_documents(plan.documents),
            *(word for pair in plan.new_texts.items() for word in pair),
        )
        if not number:
            raise RevisionConflictError(base, before)
        self.last_seen_revision = max(self.last_seen_revision, number)
        info = RevisionInfo(
            revision=number, author=author, message=message, time=committed_at / 1000, changed=plan.changed
        )
        return StoredRevision(info, plan.documents)

    async def services(self) -> Mapping[str, tuple[Port, ...]]:
        """Every service that has ever registered, with its ports, sorted by name."""
        return (await self.snapshot()).services

    async def changes(self) -> AsyncIterator[frozenset[str]]:
        """What changed, endlessly: subsets of ALL_CHANGES, coalesced.

        Yields ALL_CHANGES at the start, after an outage, and when there were too many changes to read. Never
        raises when the store is unavailable: it retries (`health` tells).
        """
        position, delay = "", RETRY_DELAYS[0]
        while True:
            try:
                if not position:
                    position = await self._last_change_id()
                    yield ALL_CHANGES
                entries = await self._changes_after(position)
            except StoreError:
                position = ""
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_DELAYS[1])
                continue
            delay = RETRY_DELAYS[0]
            if entries:
                position = entries[-1][0]
                kinds = frozenset(fields.get("kind", "") for _, fields in entries) & ALL_CHANGES
                yield ALL_CHANGES if len(entries) >= READ_COUNT else kinds

    async def _last_change_id(self) -> str:
        """The id of the stream's last entry."""
        entries = await self._connection.execute("XREVRANGE", lua.CHANGES, "+", "-", "COUNT", 1)
        return str(entries[0][0]) if entries else "0-0"

    async def _changes_after(self, id: str) -> list[tuple[str, dict[str, str]]]:
        """Entries after an id; waits up to BLOCK_MS for the first."""
        streams = await self._connection.execute(
            "XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS", lua.CHANGES, id
        )
        return list(streams[0][1]) if streams else []

    async def _read(self, *, with_instances: bool) -> StoredState:
        if self.last_seen_revision == 0:
            await self.open()
        _, newest, fields, ports, registered, idle, lost = await self._run(
            lua.READ, "", "1" if with_instances else ""
        )
        if newest == 0:
            self._cached_revision = revisions.EMPTY
        elif (newest, fields) != (self._cached_revision.number, self._cached_fields):
            self._cached_revision, self._cached_fields = await self._load_revision(newest, fields), fields
        revision = self._cached_revision
        registrations = leases.parse_registrations(registered)
        stored_ports = dict(zip(ports[::2], ports[1::2], strict=True))
        services = MappingProxyType(leases.parse_services(stored_ports, registrations))
        departures = leases.parse_departures(idle, dict(zip(lost[::2], lost[1::2], strict=True)))
        return StoredState(revision, services, registrations, departures)

    async def _load_revision(self, number: int, fields: list[Any]) -> StoredRevision:
        """A revision from its stored fields; fetches only the texts that the cached revision lacks."""
        if None in fields:
            raise StoreError(f"the store lost revision {number}: restore it from a backup")
        author, message, committed_at, changed, index = fields
        texts = {document.digest: document.text for document in self._cached_revision.documents.values()}
        missing = sorted(revisions.parse_digests(index) - texts.keys())
        if missing:
            fetched = await self._connection.execute("MGET", *(lua.DOCUMENT + digest for digest in missing))
            texts.update({digest: text or "" for digest, text in zip(missing, fetched, strict=True)})
        info = revisions.parse_info(number, author, message, committed_at, changed)
        return StoredRevision(info, revisions.parse_documents(index, texts))

    async def _run(self, script: Script, *arguments: str | int) -> list[Any]:
        """Run a script whose reply starts with format and newest revision, and check these.

        The newest revision must not be lower than the last one seen before the call: replies may arrive out
        of order.
        """
        last_seen = self.last_seen_revision
        reply: list[Any] = await self._connection.run_script(script, *arguments)
        problem = self._inconsistency(reply[0], reply[1], last_seen)
        if problem:
            since = self._problem.since if self._problem else time.time()
            self._problem = StoreHealth("degraded", since, problem)
            raise StoreError(problem)
        self._problem = None
        self.last_seen_revision = max(self.last_seen_revision, reply[1])
        return reply

    def _inconsistency(self, stored_format: str, newest: int, last_seen: int) -> str:
        """Why the store cannot be trusted; empty when it can."""
        store = f"the store at {self._connection.address}"
        if stored_format.isdecimal() and int(stored_format) > lua.FORMAT:
            return f"{store} has format {stored_format}, this control plane reads {lua.FORMAT}: update it"
        if stored_format.isdecimal() and int(stored_format) < lua.FORMAT:
            return (
                f"{store} has format {stored_format}, this control plane reads {lua.FORMAT}: "
                "start with an empty store"
            )
        if last_seen > max(newest, 0):
            contents = f"revision {newest}" if newest >= 0 else "no mesh"
            return f"{store} has {contents}, but revision {last_seen} was seen: it lost data, restore it"
        if newest < 0 or stored_format != str(lua.FORMAT):
            return f"{store} has only a part of a mesh: it lost data; restore it, or use another store"
        return ""
