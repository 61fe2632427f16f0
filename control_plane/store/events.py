"""The event stream shared by all control planes of a store: bounded, the newest events are kept.

Several control planes may notice the same event. Of entries with the same `dedup_key` that two control
planes write within a few seconds, only the first is kept. Each revision is reported once, ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.store import lua
from meshwright.control_plane.store.connection import Connection
from meshwright.control_plane.store.lua import RunScript

BATCH_LIMIT = 200
"""Entries of one write: the script runs for about a millisecond."""

PAGE_SIZE = 500
"""Entries read at a time."""

MAX_DIGITS = 16

BLOCK_MS = 1000
"""How long one `read_after` may wait; below the connection's timeout."""


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An event to write. `dedup_key` is set if other control planes may notice the same event.

    `owner`: the service or address that causes it, if a client can cause it at will.
    """

    event: Event
    dedup_key: str = ""
    owner: str = ""


class EventStream:
    """The events of one mesh. Every method raises StoreError when the store is unavailable."""

    def __init__(self, connection: Connection, run: RunScript) -> None:
        self._connection = connection
        self._run = run

    async def write(self, writer: str, number: int, entries: Sequence[EventEntry]) -> None:
        """Append entries in order; does nothing if this `writer` has written batch `number` before.

        So a batch can be retried after a StoreError, which does not tell whether the batch was written.
        """
        arguments = [argument for entry in entries for argument in _arguments(entry)]
        await self._run(lua.WRITE_EVENTS, writer, number, *arguments)

    async def last_revision(self) -> int:
        """The newest revision that has an event; 0 when there is none."""
        text = str(await self._connection.execute("GET", lua.EVENTS_REVISION) or "0")
        return int(text) if text.isascii() and text.isdigit() and len(text) < MAX_DIGITS else 0

    async def newest(self, limit: int, before: str = "", kind: str = "") -> tuple[Event, ...]:
        """At most `limit` events, newest first; only of one kind, and older than `before`, if given."""
        events: list[Event] = []
        end = f"({before}" if before else "+"
        while len(events) < limit:
            entries = await self._connection.execute(
                "XREVRANGE", lua.EVENTS, end, "-", "COUNT", PAGE_SIZE if kind else limit
            )
            if not entries:
                break
            end = f"({entries[-1][0]}"
            events += (_parse_event(*entry) for entry in entries if kind in ("", entry[1].get("kind")))
        return tuple(events[:limit])

    async def last_id(self) -> str:
        """The id of the newest event; `0-0` when there is none."""
        entries = await self._connection.execute("XREVRANGE", lua.EVENTS, "+", "-", "COUNT", 1)
        return str(entries[0][0]) if entries else "0-0"

    async def read_after(self, id: str, *, wait: bool = False) -> tuple[Event, ...]:
        """Up to PAGE_SIZE events newer than `id`, oldest first; with `wait` waits up to a second for one."""
        block = ("BLOCK", BLOCK_MS) if wait else ()
        streams = await self._connection.execute(
            "XREAD", "COUNT", PAGE_SIZE, *block, "STREAMS", lua.EVENTS, id
        )
        return tuple(_parse_event(*entry) for entry in streams[0][1]) if streams else ()


def _arguments(entry: EventEntry) -> tuple[str | int, ...]:
    """The script's arguments for one entry."""
    event = entry.event
    revision = event.revision if event.kind == "revision" else 0
    text = event.model_dump_json(exclude={"id"}, exclude_defaults=True)
    return entry.dedup_key, round(event.time * 1000), revision, event.kind, text


def _parse_event(id: str, fields: dict[str, str]) -> Event:
    """A stored event; a damaged one gets the message `cannot be read`."""
    try:
        return Event.model_validate_json(fields.get("event", "")).model_copy(update={"id": id})
    except ValidationError:
        time = int(id.partition("-")[0]) / 1000
        return Event(id=id, time=time, kind=fields.get("kind", ""), subject="", message="cannot be read")
