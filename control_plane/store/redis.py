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

from control_plane.api.types import Port, Registration, RevisionInfo
from control_plane.errors import NotFoundError, RevisionConflict, StoreError
from control_plane.store import leases, revisions, scripts
from control_plane.store.client import Connection, StoreState
from control_plane.store.events import Events
from control_plane.store.planes import Planes
from control_plane.store.revisions import Document, Revision
from control_plane.store.scripts import Script
from control_plane.store.tokens import Tokens

EVERYTHING = frozenset({"revision", "instances", "tokens"})
BLOCK_MS = 1000
"""How long one read of the stream waits; below the connection's timeout."""
READ_COUNT = 500
BACK_OFF = (0.05, 1.0)
"""Seconds between tries while the store is away: the first, the longest."""
HISTORY_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """All that is stored, read at one instant. `services` are sorted by name, with their ports."""

    revision: Revision
    services: Mapping[str, tuple[Port, ...]]
    registrations: tuple[Registration, ...]


class Store:
    """One mesh's store. Every method raises StoreError when the store is away or is not ours."""

    def __init__(self, url: str, password: str = "", *, lease_ttl: float = leases.LEASE_TTL) -> None:
        """Does not connect yet. `lease_ttl` is in seconds. Raises InputError for a URL that is none."""
        self._connection = Connection(url, password)
        self._newest = revisions.EMPTY
        self._fields: list[Any] = []
        self._problem: StoreState | None = None
        self.leases = leases.Leases(self._connection, lease_ttl)
        self.tokens = Tokens(self._ask)
        self.events = Events(self._connection, self._ask)
        self.planes = Planes(self._ask)
        self.known = 0

    @property
    def state(self) -> StoreState:
        """Whether the store answers, and holds what it should."""
        return self._problem or self._connection.state

    async def open(self, expect_at_least: int = 0) -> int:
        """Make an empty store ours, or see that it is; gives the newest revision's number.

        `expect_at_least` is the newest revision the caller remembers from an earlier life: a store that has
        less has lost data. Raises StoreError.
        """
        self.known = max(self.known, expect_at_least)
        fresh = "1" if self.known == 0 else ""
        _, newest = await self._ask(scripts.OPEN, scripts.FORMAT, fresh)
        return int(newest)

    async def close(self) -> None:
        """Close every connection."""
        await self._connection.close()

    async def current(self) -> Revision:
        """The newest revision."""
        return (await self._read(with_instances=False)).revision

    async def snapshot(self) -> Stored:
        """The newest revision and everything registered, read at one instant."""
        return await self._read(with_instances=True)

    async def get(self, number: int) -> Revision:
        """A revision by its number; raises NotFoundError when there is none."""
        _, newest, fields, _, _ = await self._ask(scripts.READ, max(number, 0), "")
        if number == 0:
            return revisions.EMPTY
        if not 0 < number <= newest:
            raise NotFoundError(
                f"revision {number}: there is none, the newest is {newest}; see `mesh history`"
            )
        return await self._revision(number, fields)

    async def history(self, limit: int = 50, before: int | None = None) -> tuple[RevisionInfo, ...]:
        """At most `limit` (1 to 1000) revisions below `before`, newest first, without revision 0."""
        limit = min(max(limit, 1), HISTORY_LIMIT)
        below = "" if before is None else max(before, 0)
        _, _, found = await self._ask(scripts.HISTORY, limit, below)
        return tuple(revisions.read_info(*fields) for fields in found)

    async def commit(self, base: int, documents: Mapping[str, Document], author: str, why: str) -> Revision:
        """Make `documents` (by `Kind/name`) the newest revision, if `base` still is it.

        Gives the newest revision as it is when that changes nothing; a moved `source` alone is no change. A
        rollback is a commit of an earlier revision's documents. Raises RevisionConflict, InputError. After a
        StoreError the commit may have been made: `current()` tells.
        """
        revisions.check(documents, author, why)
        newest = await self.current()
        if newest.number != base:
            raise RevisionConflict(base, newest.number)
        planned = revisions.plan(newest, documents)
        if not planned.changed:
            return newest
        _, before, number, made = await self._ask(
            scripts.COMMIT,
            scripts.FORMAT,
            base,
            secrets.token_hex(16),
            author,
            why,
            revisions.write_changes(planned.changed),
            revisions.write_documents(planned.documents),
            *(word for pair in planned.new.items() for word in pair),
        )
        if not number:
            raise RevisionConflict(base, before)
        self.known = max(self.known, number)
        info = RevisionInfo(
            revision=number, author=author, why=why, time=made / 1000, changed=planned.changed
        )
        return Revision(info, planned.documents)

    async def services(self) -> Mapping[str, tuple[Port, ...]]:
        """Every service that ever registered, with its ports, sorted by name."""
        return (await self.snapshot()).services

    async def changes(self) -> AsyncIterator[frozenset[str]]:
        """What changed, for ever: sets of what EVERYTHING holds, those of one moment together.

        Everything once at the start, after the store was away, and when more changed than is worth reading.
        Never raises for a store that is away: it waits and tries again (`state` tells).
        """
        position, pause = "", BACK_OFF[0]
        while True:
            try:
                if not position:
                    position = await self._position()
                    yield EVERYTHING
                entries = await self._entries(position)
            except StoreError:
                position = ""
                await asyncio.sleep(pause)
                pause = min(pause * 2, BACK_OFF[1])
                continue
            pause = BACK_OFF[0]
            if entries:
                position = entries[-1][0]
                kinds = frozenset(fields.get("kind", "") for _, fields in entries) & EVERYTHING
                yield EVERYTHING if len(entries) >= READ_COUNT else kinds

    async def _position(self) -> str:
        """The id of the stream's last entry."""
        last = await self._connection.command("XREVRANGE", scripts.STREAM, "+", "-", "COUNT", 1)
        return str(last[0][0]) if last else "0-0"

    async def _entries(self, after: str) -> list[tuple[str, dict[str, str]]]:
        """Entries after an id; waits up to BLOCK_MS for the first."""
        found = await self._connection.command(
            "XREAD", "COUNT", READ_COUNT, "BLOCK", BLOCK_MS, "STREAMS", scripts.STREAM, after
        )
        return list(found[0][1]) if found else []

    async def _read(self, *, with_instances: bool) -> Stored:
        if self.known == 0:
            await self.open()
        _, newest, fields, ports, registered = await self._ask(
            scripts.READ, "", "1" if with_instances else ""
        )
        if newest == 0:
            self._newest = revisions.EMPTY
        elif (newest, fields) != (self._newest.number, self._fields):
            self._newest, self._fields = await self._revision(newest, fields), fields
        revision = self._newest
        registrations = leases.read_registrations(registered)
        stored = dict(zip(ports[::2], ports[1::2], strict=True))
        services = MappingProxyType(leases.read_services(stored, registrations))
        return Stored(revision, services, registrations)

    async def _revision(self, number: int, fields: list[Any]) -> Revision:
        """A revision from its stored fields; texts that the last one held are not fetched again."""
        if None in fields:
            raise StoreError(f"the store lost revision {number}: restore it from a backup")
        author, why, made, changed, listed = fields
        texts = {document.digest: document.text for document in self._newest.documents.values()}
        missing = sorted(revisions.read_digests(listed) - texts.keys())
        if missing:
            found = await self._connection.command("MGET", *(f"mesh:doc:{digest}" for digest in missing))
            texts.update({digest: text or "" for digest, text in zip(missing, found, strict=True)})
        info = revisions.read_info(number, author, why, made, changed)
        return Revision(info, revisions.read_documents(listed, texts))

    async def _ask(self, script: Script, *arguments: str | int) -> list[Any]:
        """Run a step whose answer begins with format and newest revision, and check these.

        The newest must be at least what was known before asking: answers may overtake each other.
        """
        known = self.known
        answer: list[Any] = await self._connection.script(script, *arguments)
        problem = self._doubt(answer[0], answer[1], known)
        if problem:
            since = self._problem.since if self._problem else time.time()
            self._problem = StoreState("degraded", since, problem)
            raise StoreError(problem)
        self._problem = None
        self.known = max(self.known, answer[1])
        return answer

    def _doubt(self, form: str, newest: int, known: int) -> str:
        """Why the store cannot be believed; empty when it can."""
        where = f"the store at {self._connection.address}"
        if form.isdecimal() and int(form) > scripts.FORMAT:
            return f"{where} holds format {form}, this control plane reads {scripts.FORMAT}: update it"
        if known > max(newest, 0):
            held = f"revision {newest}" if newest >= 0 else "no mesh"
            return f"{where} holds {held}, but revision {known} was known: it lost data, restore it"
        if newest < 0 or form != str(scripts.FORMAT):
            return f"{where} holds a part of a mesh only: it lost data; restore it, or name another store"
        return ""
