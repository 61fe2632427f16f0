"""All that a store keeps of a mesh, as bytes that another takes: Redis' own form of each key (DUMP, RESTORE).

What ends by itself is left out: leases, who is registered, control planes, counters of limits. Whoever is
alive renews these within seconds. So are moments, which are large and are no part of what a mesh is.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from redis import asyncio as aioredis
from redis.exceptions import RedisError

from meshwright.control_plane.errors import InputError, StoreError
from meshwright.control_plane.store.connection import address
from meshwright.control_plane.store.lua import CHANGES, REGISTRATIONS
from meshwright.control_plane.store.moments import MOMENTS

TIMEOUT = 60.0
"""Seconds for one command: the first one copies everything, 64 MiB of documents with their history."""

EPHEMERAL = (REGISTRATIONS, "mesh:leases", "mesh:control-planes", MOMENTS)
"""Beginnings of keys that are left out, besides those of all keys that expire."""

_DUMP = """
local entries = {redis.call('GET', 'mesh:revision') or ''}
for _, key in ipairs(redis.call('KEYS', 'mesh:*')) do
  local left_out = redis.call('PTTL', key) >= 0
  for _, start in ipairs(ARGV) do
    left_out = left_out or string.sub(key, 1, #start) == start
  end
  if not left_out then
    entries[#entries + 1] = key
    entries[#entries + 1] = redis.call('DUMP', key)
  end
end
return entries
"""

_RESTORE = """
-- KEYS: none. ARGV: '1' to replace what is there, the stream of changes, then key and dump of each entry
-- returns: '' or why nothing was changed
local present = redis.call('KEYS', 'mesh:*')
if ARGV[1] ~= '1' and redis.call('EXISTS', 'mesh:revision') == 1 then return 'occupied' end
for index = 3, #ARGV, 2 do
  local reply = redis.pcall('RESTORE', 'mesh:restoring', 0, ARGV[index + 1], 'REPLACE')
  if type(reply) == 'table' and reply.err then
    redis.call('DEL', 'mesh:restoring')
    return reply.err
  end
end
redis.call('DEL', 'mesh:restoring')
for _, key in ipairs(present) do redis.call('DEL', key) end
for index = 3, #ARGV, 2 do redis.call('RESTORE', ARGV[index], 0, ARGV[index + 1]) end
redis.call('XADD', ARGV[2], 'MAXLEN', '~', '10000', '*', 'kind', 'revision')
return ''
"""

Entries = Mapping[str, bytes]
"""The dump of each key."""


async def dump_store(url: str, password: str) -> tuple[int, dict[str, bytes]]:
    """The newest revision's number and what the store keeps, read at one instant.

    Raises StoreError, also for a store without a mesh.
    """
    revision, *reply = await _run(url, password, _DUMP, *EPHEMERAL)
    if not revision:
        raise StoreError(f"{address(url)}: there is no mesh in this store: nothing to back up")
    return int(revision), {reply[at].decode(): reply[at + 1] for at in range(0, len(reply), 2)}


async def restore_store(url: str, password: str, entries: Entries, *, replace: bool = False) -> None:
    """Make the store what it was, all or nothing.

    Raises InputError if it has a mesh, unless that is to be replaced, and StoreError if it does not take the
    entries.
    """
    words = [word for pair in entries.items() for word in pair]
    reply = await _run(url, password, _RESTORE, "1" if replace else "", CHANGES, *words)
    if reply == b"occupied":
        raise InputError(f"{address(url)}: there is a mesh in this store: use --force to replace it")
    if reply:
        raise StoreError(
            f"{address(url)}: does not take the backup ({reply.decode(errors='replace')}): "
            "it needs a Redis or Valkey that is not older than the one that was backed up"
        )


async def _run(url: str, password: str, script: str, *arguments: str | bytes) -> Any:
    """The reply of a script as bytes; raises StoreError."""
    options: dict[str, Any] = {"password": password} if password else {}
    client = aioredis.Redis.from_url(url, socket_timeout=TIMEOUT, **options)
    try:
        async with aclosing(client):
            return await client.eval(script, 0, *arguments)
    except (RedisError, OSError) as error:
        text = " ".join(str(error).split())
        raise StoreError(f"{address(url)}: {text}: is it running?") from None
