"""Moments of the mesh in the store, by time, and which control plane records them.

```
mesh:moments           hash: time (s) → the moment's text
mesh:moments:times     sorted set: `time:size` of each moment, by its time
mesh:moments:writer    id of the control plane that records; expires
```
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshwright.control_plane.store.lua import RunScript, Script

MOMENTS = "mesh:moments"

_HEADER = "redis.call('GET', 'mesh:format') or '', tonumber(redis.call('GET', 'mesh:revision') or -1)"

_CLAIM = Script(
    "claim moments",
    f"""
-- ARGV: id of a control plane, ttl (ms)
-- returns: format, newest revision, 1 if it is the one that records
local writer = redis.call('GET', '{MOMENTS}:writer')
if writer and writer ~= ARGV[1] then return {{{_HEADER}, 0}} end
redis.call('SET', '{MOMENTS}:writer', ARGV[1], 'PX', ARGV[2])
return {{{_HEADER}, 1}}
""",
)

_SAVE = Script(
    "save moment",
    f"""
-- ARGV: time, text
-- returns: format, newest revision
redis.call('HSET', '{MOMENTS}', ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', '{MOMENTS}:times', ARGV[1], ARGV[1])
redis.call('ZADD', '{MOMENTS}:times', ARGV[1], ARGV[1] .. ':' .. #ARGV[2])
return {{{_HEADER}}}
""",
)

_LIST = Script(
    "list moments",
    f"""
-- returns: format, newest revision, `time:size` of each
return {{{_HEADER}, redis.call('ZRANGE', '{MOMENTS}:times', 0, -1)}}
""",
)

_REMOVE = Script(
    "remove moments",
    f"""
-- ARGV: times
-- returns: format, newest revision
for _, time in ipairs(ARGV) do
  redis.call('HDEL', '{MOMENTS}', time)
  redis.call('ZREMRANGEBYSCORE', '{MOMENTS}:times', time, time)
end
return {{{_HEADER}}}
""",
)

_READ = Script(
    "read moment",
    f"""
-- ARGV: time
-- returns: format, newest revision, text of the last moment until then ('': none), and `time:size` ('': none)
-- of itself, the one before, the one after, the oldest and the newest
local times = '{MOMENTS}:times'
local function first(reply) return reply[1] or '' end
local oldest, newest = first(redis.call('ZRANGE', times, 0, 0)), first(redis.call('ZRANGE', times, -1, -1))
local found = redis.call('ZREVRANGEBYSCORE', times, ARGV[1], '-inf', 'LIMIT', 0, 2)
local after = first(redis.call('ZRANGEBYSCORE', times, '(' .. ARGV[1], '+inf', 'LIMIT', 0, 1))
local text = ''
if found[1] then text = redis.call('HGET', '{MOMENTS}', string.match(found[1], '^(%d+):')) or '' end
return {{{_HEADER}, text, found[1] or '', found[2] or '', after, oldest, newest}}
""",
)

MAX_REMOVED = 500
"""Moments removed by one script, so that none blocks the store for long."""


@dataclass(frozen=True, slots=True)
class StoredMoment:
    """The text of a moment; times in epoch seconds, 0 where there is none.

    `time` is its own, `earlier` and `later` those of its neighbours, `oldest` and `newest` of all.
    """

    text: str
    time: int
    earlier: int
    later: int
    oldest: int
    newest: int


class MomentStore:
    """The moments of one mesh. All methods raise StoreError when the store is unavailable."""

    def __init__(self, run: RunScript) -> None:
        self._run = run

    async def claim(self, id: str, ttl: float) -> bool:
        """Whether the control plane with this id records; if so, for `ttl` more seconds."""
        _, _, claimed = await self._run(_CLAIM, id, round(ttl * 1000))
        return bool(claimed)

    async def save(self, time: int, text: str) -> None:
        """Keep a moment, instead of one of the same time."""
        await self._run(_SAVE, time, text)

    async def sizes(self) -> dict[int, int]:
        """The size in bytes of every moment, by its time."""
        _, _, members = await self._run(_LIST)
        return {_time(member): int(member.partition(":")[2]) for member in members}

    async def remove(self, times: Iterable[int]) -> None:
        """Remove moments by their times."""
        remaining = list(times)
        for start in range(0, len(remaining), MAX_REMOVED):
            await self._run(_REMOVE, *remaining[start : start + MAX_REMOVED])

    async def read(self, time: float) -> StoredMoment:
        """The last moment until `time`; without one its `text` is empty and its `time` 0."""
        _, _, text, *members = await self._run(_READ, int(time))
        return StoredMoment(text, *map(_time, members))


def _time(member: str) -> int:
    return int(member.partition(":")[0] or 0)
