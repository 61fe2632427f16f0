"""The push of the newest revision: its record, who leads it, and what was withdrawn.

`stable` is the revision in force. The newest one is on trial while it is another, and is watched for some
time after. The record counts only if it is about the newest revision. Writes compare its generation with the
one that was read, so that a leader that lost its lease, and a person who pauses the push, cannot undo each
other's change.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from pydantic import ValidationError

from meshwright.control_plane.api.models.push import Push, PushReport, Withdrawal
from meshwright.control_plane.store.lua import RunScript, script

LEADER_TTL = 6.0
"""Seconds until another control plane may lead: as long as the announcement of one that is gone."""

_HEADER = "redis.call('GET', 'mesh:format') or '', tonumber(redis.call('GET', 'mesh:revision') or -1)"

READ_PUSH = script(
    "read push",
    f"""
-- returns: format, newest revision, stable revision, record and generation (false: none), withdrawals,
-- newest first
return {{{_HEADER}, redis.call('HMGET', 'mesh:push', 'stable', 'record', 'generation'),
  redis.call('LRANGE', 'mesh:push:withdrawn', 0, -1)}}
""",
)

LEAD_PUSH = script(
    "lead push",
    f"""
-- ARGV: id of a control plane, ttl (ms)
-- returns: format, newest revision, 1 if it leads
local leader = redis.call('GET', 'mesh:push:leader')
if leader and leader ~= ARGV[1] then return {{{_HEADER}, 0}} end
redis.call('SET', 'mesh:push:leader', ARGV[1], 'PX', ARGV[2])
return {{{_HEADER}, 1}}
""",
)

SAVE_PUSH = script(
    "save push",
    f"""
-- ARGV: revision, generation that was read, the record ('' for none), '1' to put the revision in force
-- returns: format, newest revision, 1 unless something was written since
local generation = redis.call('HGET', 'mesh:push', 'generation') or '0'
if redis.call('GET', 'mesh:revision') ~= ARGV[1] or generation ~= ARGV[2] then return {{{_HEADER}, 0}} end
if ARGV[4] == '1' then redis.call('HSET', 'mesh:push', 'stable', ARGV[1]) end
if ARGV[3] == '' then
  redis.call('HDEL', 'mesh:push', 'record')
else
  redis.call('HSET', 'mesh:push', 'record', ARGV[3])
end
redis.call('HINCRBY', 'mesh:push', 'generation', 1)
announce('revision')
return {{{_HEADER}, 1}}
""",
)

log = structlog.get_logger(__name__)


class PushStore:
    """The push in the store. All methods raise StoreError when the store is unavailable."""

    def __init__(self, run: RunScript) -> None:
        self._run = run

    async def read(self) -> PushReport:
        """The push that is under way, and what was withdrawn."""
        _, newest, fields, withdrawn = await self._run(READ_PUSH)
        return parse_push(newest, fields, withdrawn)

    async def lead(self, id: str) -> bool:
        """Whether the control plane with this id leads; if so, for one more LEADER_TTL."""
        _, _, leads = await self._run(LEAD_PUSH, id, round(LEADER_TTL * 1000))
        return bool(leads)

    async def save(self, read: PushReport, push: Push) -> bool:
        """Write the record, unless something was written since `read`; returns whether it was."""
        return await self._save(read, push)

    async def promote(self, read: PushReport, after: Push | None = None) -> bool:
        """Put the newest revision in force, unless something was written since `read`.

        With `after` it is still watched; without, the push has ended.
        """
        return await self._save(read, after, in_force="1")

    async def _save(self, read: PushReport, push: Push | None, in_force: str = "") -> bool:
        record = push.model_dump_json() if push else ""
        arguments = (str(read.newest), str(read.generation), record, in_force)
        _, _, saved = await self._run(SAVE_PUSH, *arguments)
        return bool(saved)


def parse_push(newest: int, fields: Sequence[str | None], withdrawn: Sequence[str]) -> PushReport:
    """The push as it is stored. A store of an earlier release has none: the newest revision is in force."""
    stored, record, generation = fields
    stable = int(stored) if stored and stored.isdecimal() and int(stored) <= newest else newest
    return PushReport(
        newest=newest,
        stable=stable,
        push=_parse_record(record, newest, stable) if record else None,
        withdrawals=tuple(filter(None, map(_parse_withdrawal, withdrawn))),
        generation=int(generation or 0),
    )


def _parse_record(stored: str, newest: int, stable: int) -> Push | None:
    """The record, if it is about the newest revision; with one that cannot be read the push begins again."""
    try:
        push = Push.model_validate_json(stored)
    except ValidationError:
        log.error("the record of the push in the store cannot be read")
        return None
    in_force = newest == stable
    return push if push.revision == newest and (push.phase == "after") == in_force else None


def _parse_withdrawal(stored: str) -> Withdrawal | None:
    try:
        return Withdrawal.model_validate_json(stored)
    except ValidationError:
        return None
