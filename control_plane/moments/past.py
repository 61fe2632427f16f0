"""The mesh at a time of the past: the moment, joined with the revision, policies and events of then."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from meshwright.control_plane.api.models.moments import PastMesh, RecordedRange
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.errors import InputError, NotFoundError, StoreError
from meshwright.control_plane.moments.codec import UnreadableMomentError, decode
from meshwright.control_plane.store.store import Store

EVENTS = 50
"""Events that are returned with a moment."""

FUTURE_SECONDS = 60.0
"""How far ahead of this host's clock a time may be: clocks differ."""


class Past:
    """What the store knows of the past."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def at(self, when: float) -> PastMesh:
        """The mesh as it was at `when`, in epoch seconds; raises InputError, NotFoundError, StoreError."""
        if when > time.time() + FUTURE_SECONDS:
            raise InputError(f"{_utc(when)} is in the future: give a time of the past")
        stored = await self._store.moments.read(when)
        if not stored.time:
            raise NotFoundError(_nothing_before(when, stored.oldest))
        try:
            moment = decode(stored.text)
        except UnreadableMomentError as error:
            raise StoreError(f"the moment of {_utc(stored.time)} in the store is damaged ({error})") from None
        until = round(when * 1000) + 1
        return PastMesh(
            at=when,
            moment=moment,
            recorded=RecordedRange(
                oldest=stored.oldest, newest=stored.newest, earlier=stored.earlier, later=stored.later
            ),
            info=await self._info(moment.revision),
            policies=await self._policies(moment.revision),
            events=await self._store.events.newest(EVENTS, before=f"{until}-0"),
        )

    async def _info(self, number: int) -> RevisionInfo | None:
        entries = await self._store.history(1, before=number + 1)
        return next((entry for entry in entries if entry.revision == number), None)

    async def _policies(self, number: int) -> tuple[str, ...]:
        """The documents of a revision; none if it is not in the store any more."""
        try:
            return tuple(sorted((await self._store.get(number)).documents))
        except NotFoundError:
            return ()


def _utc(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _nothing_before(when: float, oldest: int) -> str:
    if oldest:
        return f"nothing is recorded of {_utc(when)}: the oldest moment is of {_utc(oldest)}"
    return "nothing is recorded: the first moment is within seconds of the start, unless MESH_HISTORY_HOURS=0"
