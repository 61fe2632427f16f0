"""What happened, for all control planes of a store: a bounded stream that keeps the newest.

Several control planes may notice the same thing. Of entries with one topic that two of them write within a
few seconds the first counts; of each revision it is told once for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.store import lua

if TYPE_CHECKING:
    from meshwright.control_plane.store.connection import Connection

BATCH_LIMIT = 200
"""Entries of one write: a script of about a millisecond."""

PAGE_SIZE = 500
"""Entries read at a time."""

BLOCK_MS = 1000
"""How long one `after` may wait; below the connection's timeout."""

RunScript = Callable[..., Awaitable[list[Any]]]
"""Runs a script whose answer begins with format and newest revision, and checks these (Store)."""


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An event to write. `topic` names what other control planes may notice too; empty when nobody can."""

    event: Event
    dedup_key: str = ""


class EventStream:
    """The stream of one mesh. Every method raises StoreError when the store is away."""

    def __init__(self, connection: Connection, ask: RunScript) -> None:
        self._connection = connection
        self._run = ask

    async def write(self, writer: str, number: int, entries: Sequence[EventEntry]) -> None:
        """Add entries in their order; a batch of a `writer` whose `number` was written before is left out.

        So a batch may be sent again after a StoreError, which does not tell whether it arrived.
        """
        words = [word for entry in entries for word in _arguments(entry)]
        await self._run(lua.WRITE_EVENTS, writer, number, *words)

    async def last_revision(self) -> int:
        """The newest revision that was told of; 0 when none was."""
        return int(await self._connection.execute("GET", lua.EVENTS_REVISION) or 0)

    async def newest(self, limit: int, before: str = "", kind: str = "") -> tuple[Event, ...]:
        """At most `limit` events, newest first; of one kind, and older than `before`, if given."""
        found: list[Event] = []
        end = f"({before}" if before else "+"
        while len(found) < limit:
            entries = await self._connection.execute(
                "XREVRANGE", lua.EVENTS, end, "-", "COUNT", PAGE_SIZE if kind else limit
            )
            if not entries:
                break
            end = f"({entries[-1][0]}"
            found += (_parse_event(*entry) for entry in entries if kind in ("", entry[1].get("kind")))
        return tuple(found[:limit])

    async def last_id(self) -> str:
        """The id of the newest event; `0-0` when there is none."""
        entries = await self._connection.execute("XREVRANGE", lua.EVENTS, "+", "-", "COUNT", 1)
        return str(entries[0][0]) if entries else "0-0"

    async def read_after(self, id: str, *, wait: bool = False) -> tuple[Event, ...]:
        """Events newer than `id`, oldest first, CHUNK at most; may wait up to a second for the first."""
        block = ("BLOCK", BLOCK_MS) if wait else ()
        found = await self._connection.execute("XREAD", "COUNT", PAGE_SIZE, *block, "STREAMS", lua.EVENTS, id)
        return tuple(_parse_event(*entry) for entry in found[0][1]) if found else ()


def _arguments(entry: EventEntry) -> tuple[str | int, ...]:
    event = entry.event
    revision = event.revision if event.kind == "revision" else 0
    text = event.model_dump_json(exclude={"id"}, exclude_defaults=True)
    return entry.dedup_key, round(event.time * 1000), revision, event.kind, text


def _parse_event(id: str, fields: dict[str, str]) -> Event:
    """An event as it is stored; one that is damaged is shown as such."""
    try:
        return Event.model_validate_json(fields.get("event", "")).model_copy(update={"id": id})
    except ValidationError:
        made = int(id.partition("-")[0]) / 1000
        return Event(id=id, time=made, kind=fields.get("kind", ""), subject="", message="cannot be read")
