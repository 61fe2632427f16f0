"""The buckets of global rate limits, shared by all control planes of the mesh.

A bucket is one number, the time at which it is full again (the "theoretical arrival time" of the generic cell
rate algorithm). It belongs to a generation, which is as long as an empty bucket takes to fill: one that is in
neither the present nor the last generation is full. So a generation is a hash that expires as a whole, and
what a limit keeps is bounded, whatever its keys are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshwright.control_plane.store.connection import Connection
from meshwright.control_plane.store.lua import Script

MAX_KEYS = 100_000
"""Buckets of a limit in one generation. Requests with further keys share one."""

_ASK_LENGTH = 5

TAKE = Script(
    "take tokens",
    f"""
-- ARGV, for each bucket: limit, key, ms for one token, size of the bucket, tokens requested
-- returns, for each: tokens granted, tokens left, ms until it is full, ms until there is a token again
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local replies = {{}}
for at = 1, #ARGV, {_ASK_LENGTH} do
  local interval, size, requested = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local fill = math.max(math.ceil(interval * size), 1000)
  local generation = math.floor(now / fill)
  local prefix, field = 'mesh:limits:' .. ARGV[at] .. ':', ARGV[at + 1]
  local present = prefix .. string.format('%.0f', generation)
  local full_at = tonumber(redis.call('HGET', present, field))
  if not full_at then
    full_at = tonumber(redis.call('HGET', prefix .. string.format('%.0f', generation - 1), field)) or 0
    if redis.call('HLEN', present) >= {MAX_KEYS} then
      field = ''
      full_at = tonumber(redis.call('HGET', present, field)) or 0
    end
  end
  full_at = math.min(math.max(full_at, now), now + interval * size)
  local free = math.floor(size - (full_at - now) / interval + 1e-6)
  local granted = math.max(math.min(requested, free), 0)
  if granted > 0 then
    full_at = full_at + granted * interval
    redis.call('HSET', present, field, string.format('%.3f', full_at))
    redis.call('PEXPIRE', present, 2 * fill)
  end
  local wait = full_at - now - (size - 1) * interval
  replies[#replies + 1] = granted
  replies[#replies + 1] = free - granted
  replies[#replies + 1] = math.ceil(full_at - now)
  replies[#replies + 1] = math.max(math.ceil(wait), 0)
end
return replies
""",
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket of one key of a limit: its size, and how many milliseconds it needs for a token."""

    limit: str
    key: str
    interval_ms: float
    size: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a bucket gave: tokens, how many are left, and milliseconds until it is full, and has one again."""

    granted: int
    left: int
    full_in_ms: int
    next_in_ms: int


class LimitCounters:
    """Takes tokens of buckets, by a connection of its own: its short timeouts disturb no other part."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def take(self, requested: Sequence[tuple[Bucket, int]]) -> list[Grant]:
        """Take up to so many tokens of each bucket, in one step. Raises StoreError."""
        arguments: list[str | int] = []
        for bucket, tokens in requested:
            arguments += (bucket.limit, bucket.key, repr(bucket.interval_ms), bucket.size, tokens)
        reply = await self._connection.run_script(TAKE, *arguments)
        numbers = [int(number) for number in reply]
        return [Grant(*numbers[at : at + 4]) for at in range(0, len(numbers), 4)]

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()
