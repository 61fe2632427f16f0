"""The store: policies as revisions, instances as leases, changes as a stream, in any Redis or Valkey.

`Store` is what the rest of the control plane uses. It does not trust a store that lost data: once a revision
was seen, a lower one (or none) is an error, not an empty mesh.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import structlog
from prometheus_client import Gauge

from meshwright.control_plane.api.models.instances import Port, Registration
from meshwright.control_plane.api.models.push import NO_PUSH, PushReport, Withdrawal
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.core.world import Departure
from meshwright.control_plane.errors import (
    ForeignRootError,
    NotFoundError,
    RevisionConflictError,
    StoreError,
)
from meshwright.control_plane.store import leases, lua, revisions
from meshwright.control_plane.store.connection import Connection, StoreHealth
from meshwright.control_plane.store.control_planes import ControlPlaneRegistry
from meshwright.control_plane.store.events import EventStream
from meshwright.control_plane.store.evictions import EvictionStore
from meshwright.control_plane.store.limit_counters import LimitCounters
from meshwright.control_plane.store.lua import Script
from meshwright.control_plane.store.moments import MomentStore
from meshwright.control_plane.store.pushes import PushStore, parse_push
from meshwright.control_plane.store.revision_reader import (
    RevisionReader,
    UnreadableRevisionError,
    lost_documents,
)
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision
from meshwright.control_plane.store.root_claim import RootClaim
from meshwright.control_plane.store.silent_leases import SilentLeases
from meshwright.control_plane.store.tokens import JoinTokenStore

ALL_CHANGES = frozenset({"revision", "instances", "tokens", "evictions"})
BLOCK_MS = 1000
"""How long one read of the stream waits; below the connection's timeout."""
READ_COUNT = 500
RETRY_DELAYS = (0.05, 1.0)
"""Seconds between attempts while the store is unavailable: the first, the longest."""
HISTORY_LIMIT = 1000
HEADER_LENGTH = 2
"""Format and newest revision, with which every reply of a script starts."""
MAX_LOGGED = 10
"""Problems in one log line."""

UNREADABLE_VALUES = Gauge("mesh_store_unreadable_values", "Values in the store that cannot be read.")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoredState:
    """Everything that is stored, read at one instant. `services` are sorted by name, with their ports.

    `departures` are those of services that an instance has left since the last one joined. While `revision`
    is on trial, `stable` is the one in force; `push` says which proxies get the one on trial.
    """

    revision: StoredRevision
    services: Mapping[str, tuple[Port, ...]]
    registrations: tuple[Registration, ...]
    departures: Mapping[str, Departure] = field(default_factory=dict)
    stable: StoredRevision | None = None
    push: PushReport = NO_PUSH


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
        """Does not connect yet; raises InputError for an invalid URL. `lease_ttl`, `idle_ttl` in seconds."""
        self._connection = Connection(url, password)
        self._revisions = RevisionReader(self._connection)
        self._services: Mapping[str, tuple[Port, ...]] = {}
        self._unreadable: tuple[str, ...] = ()
        self._problem: StoreHealth | None = None
        self._data_problem: StoreHealth | None = None
        self._root_problem: StoreHealth | None = None
        self._opened = False
        self.leases = leases.Leases(self._connection, lease_ttl, idle_ttl)
        self.silent_leases = SilentLeases(self._connection, lease_ttl)
        self.tokens = JoinTokenStore(self._run)
        self.evictions = EvictionStore(self._run)
        self.events = EventStream(self._connection, self._run)
        self.control_planes = ControlPlaneRegistry(self._run)
        self.pushes = PushStore(self._run)
        self.moments = MomentStore(self._run)
        self._stable: StoredRevision | None = None
        self.limit_counters = LimitCounters(Connection(url, password))
        self.last_seen_revision = 0
        self.revision_file = ""
        """Where `last_seen_revision` is kept between starts, for messages."""
        self.root_claim = RootClaim()
        """The root of this control plane: `open` compares it with the one of the mesh in the store."""

    @property
    def health(self) -> StoreHealth:
        """Whether the store replies and its data is consistent and readable."""
        return self._problem or self._root_problem or self._data_problem or self._connection.health

    @property
    def is_damaged(self) -> bool:
        """Whether values in it cannot be read: they may be repaired at any time."""
        return self._data_problem is not None

    async def open(self, min_revision: int = 0) -> int:
        """Initialize an empty store, or check an initialized one; returns the newest revision's number.

        `min_revision` is the newest revision that the caller has seen before, in an earlier process too: a
        store with a lower one has lost data. Raises StoreError; ForeignRootError if the mesh in the store has
        another root than `root_claim`.
        """
        self.last_seen_revision = max(self.last_seen_revision, min_revision)
        may_initialize = "1" if self.last_seen_revision == 0 else ""
        claim = self.root_claim
        _, newest, root = await self._run(
            lua.OPEN, lua.FORMAT, may_initialize, claim.sha256, claim.replaced_prefix
        )
        problem = claim.problem(root)
        self._root_problem = StoreHealth("degraded", time.time(), problem) if problem else None
        if problem:
            raise ForeignRootError(problem)
        self._opened = True
        return int(newest)

    async def stored_root(self) -> str:
        """The sha256 of the root of the mesh in the store; empty if there is none."""
        return str(await self._connection.execute("GET", lua.ROOT) or "")

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()
        await self.limit_counters.close()

    async def current(self) -> StoredRevision:
        """The newest revision, without documents that cannot be read."""
        await self._read_newest("")
        return self._revisions.current

    async def snapshot(self) -> StoredState:
        """The newest revision and all registrations, read at one instant.

        Values that cannot be read are left out, or keep their last good value (see `health`).
        """
        push, ports, registered, idle, lost, withdrawn = await self._read_newest("1")
        problems: list[str] = []
        registrations = leases.parse_registrations(registered, problems)
        stored_ports = dict(zip(ports[::2], ports[1::2], strict=True))
        services = leases.parse_services(stored_ports, registrations, self._services, problems)
        lost_by_service = dict(zip(lost[::2], lost[1::2], strict=True))
        departures = leases.parse_departures(idle, lost_by_service, problems)
        self._services = MappingProxyType(services)
        self._set_unreadable(problems)
        newest = self._revisions.served
        report = parse_push(newest.number, push, withdrawn)
        stable = await self._stable_revision(report.stable) if report.stable != newest.number else None
        return StoredState(newest, self._services, registrations, departures, stable, report)

    async def get(self, number: int) -> StoredRevision:
        """A revision by its number; raises NotFoundError when it does not exist."""
        _, newest, fields, *_ = await self._run(lua.READ, max(number, 0), "")
        if number == 0:
            return revisions.EMPTY
        if not 0 < number <= newest:
            raise NotFoundError(f"revision {number}: not found, the newest is {newest}; see `mesh history`")
        revision = await self._revisions.load(number, fields)
        if revision.lost:
            raise StoreError(f"revision {number}: the store lost the text of {lost_documents(revision.lost)}")
        return revision

    async def history(self, limit: int = 50, before: int | None = None) -> tuple[RevisionInfo, ...]:
        """At most `limit` (1 to 1000) revisions below `before`, newest first, without revision 0."""
        limit = min(max(limit, 1), HISTORY_LIMIT)
        below = "" if before is None else max(before, 0)
        _, _, records = await self._run(lua.HISTORY, limit, below)
        return tuple(_parse_record(record) for record in records)

    async def commit(
        self,
        base: int,
        documents: Mapping[str, StoredDocument],
        author: str,
        message: str,
        *,
        on_trial: bool = False,
        withdrawal: Withdrawal | None = None,
    ) -> StoredRevision:
        """Make `documents` (by `Kind/name`) the next revision, if `base` is still the newest.

        It is in force at once, or `on_trial` until its push ends. `withdrawal`: why it replaces `base`.
        Returns the newest revision when the commit changes nothing; a different `source` alone is no change.
        A rollback is a commit of an earlier revision's documents. Raises RevisionConflictError, InputError.
        After a StoreError the commit may have been made: check `current()`.
        """
        revisions.validate_commit(documents, author, message)
        newest = await self.current()
        self._check_complete(newest, documents)
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
            "1" if on_trial else "",
            withdrawal.model_dump_json() if withdrawal else "",
            withdrawal.reason if withdrawal else "",
            *(word for pair in plan.new_texts.items() for word in pair),
        )
        if not number:
            raise RevisionConflictError(base, before)
        self.last_seen_revision = max(self.last_seen_revision, number)
        info = RevisionInfo(
            revision=number,
            author=author,
            message=message,
            time=committed_at / 1000,
            changed=plan.changed,
            on_trial=on_trial,
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

    async def _read_newest(self, with_instances: str) -> list[Any]:
        """Read the newest revision; returns what is stored about its push, and about instances if
        `with_instances` is "1"."""
        if self.last_seen_revision == 0 or not self._opened:
            await self.open()
        _, newest, fields, *rest = await self._run(lua.READ, "", with_instances)
        try:
            await self._revisions.read_newest(newest, fields)
        finally:
            self._update_problem()
        self.last_seen_revision = max(self.last_seen_revision, self._revisions.current.number)
        return rest

    async def _stable_revision(self, number: int) -> StoredRevision | None:
        """The revision in force; None if it cannot be read: then the newest one is served."""
        if self._stable is None or self._stable.number != number:
            _, _, fields, *_ = await self._run(lua.READ, number, "")
            try:
                self._stable = await self._revisions.load(number, fields) if number else revisions.EMPTY
            except UnreadableRevisionError as error:
                log.error("the revision in force cannot be read", problem=str(error))
                self._stable = None
        return None if self._stable is None or self._stable.lost else self._stable

    def _check_complete(self, newest: StoredRevision, documents: Mapping[str, StoredDocument]) -> None:
        """Raises StoreError if a commit on top of `newest` would drop what the store lost of it."""
        if self._revisions.problem and not newest.lost:
            raise StoreError(self._revisions.problem)
        missing = tuple(ref for ref in newest.lost if ref not in documents)
        if missing:
            raise StoreError(
                f"the store lost the text of {lost_documents(missing)}: apply it with this change, "
                "or restore the store from a backup"
            )

    def _set_unreadable(self, problems: Sequence[str]) -> None:
        if tuple(problems) != self._unreadable:
            self._unreadable = tuple(problems)
            if problems:
                log.error("values in the store cannot be read", problems=problems[:MAX_LOGGED])
            self._update_problem()

    def _update_problem(self) -> None:
        """Describe what cannot be read, in `health`."""
        problems = (*filter(None, [self._revisions.problem]), *self._unreadable)
        UNREADABLE_VALUES.set(len(problems))
        if not problems:
            self._data_problem = None
            return
        more = f", and so for {len(problems) - 1} other values" if len(problems) > 1 else ""
        since = self._data_problem.since if self._data_problem else time.time()
        text = f"the store at {self._connection.address}: {problems[0]}{more}"
        if self._data_problem is None:
            log.error("the store is damaged", problem=text)
        self._data_problem = StoreHealth("degraded", since, text)

    async def _run(self, script: Script, *arguments: str | int) -> list[Any]:
        """Run a script whose reply starts with format and newest revision, and check these.

        The newest revision must not be lower than the last one seen before the call: replies may arrive out
        of order.
        """
        last_seen = self.last_seen_revision
        reply: list[Any] = await self._connection.run_script(script, *arguments)
        problem = self._inconsistency(reply, last_seen)
        if problem:
            since = self._problem.since if self._problem else time.time()
            self._problem = StoreHealth("degraded", since, problem)
            raise StoreError(problem)
        self._problem = None
        return reply

    def _ways_out(self, newest: int) -> str:
        file = self.revision_file or "the file STATE/revision of each control plane"
        return f"restore it; or, to go on with {max(newest, 0)}, stop the mesh, run `rm {file}`, and start it"

    def _inconsistency(self, reply: list[Any], last_seen: int) -> str:
        """Why the store cannot be trusted; empty when it can."""
        store = f"the store at {self._connection.address}"
        if len(reply) < HEADER_LENGTH or not isinstance(reply[1], int):
            return f"{store} has no number in mesh:revision: restore it from a backup"
        stored_format, newest = str(reply[0]), reply[1]
        if stored_format.isdecimal() and int(stored_format) > lua.FORMAT:
            return f"{store} has format {stored_format}, this control plane reads {lua.FORMAT}: update it"
        if stored_format.isdecimal() and int(stored_format) < lua.FORMAT:
            return (
                f"{store} has format {stored_format}, this control plane reads {lua.FORMAT}: "
                "start with an empty store"
            )
        if last_seen > max(newest, 0):
            contents = f"revision {newest}" if newest >= 0 else "no mesh"
            lost = f"{store} has {contents}, but revision {last_seen} was seen: it lost data"
            return f"{lost}: {self._ways_out(newest)}"
        if newest < 0 or stored_format != str(lua.FORMAT):
            return f"{store} has only a part of a mesh: it lost data; restore it, or use another store"
        return ""


def _parse_record(record: list[Any]) -> RevisionInfo:
    """An entry of the history; one that cannot be read has only its number."""
    *fields, withdrawn, on_trial = record
    try:
        info = revisions.parse_info(*fields)
    except revisions.UNREADABLE:
        info = RevisionInfo(revision=fields[0], author="", message="cannot be read", time=0.0)
    return info.model_copy(update={"withdrawn": withdrawn, "on_trial": bool(on_trial)})
