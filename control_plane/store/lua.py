"""The store's atomic steps as Lua scripts, which run inside Redis or Valkey, and the keys they use.

```
mesh:format                   "2"; any other is refused
mesh:root                     sha256 of the root certificate
mesh:revision                 the newest revision's number
mesh:revision:<n>             hash: author, message, time (ms), changed, documents (JSON), commit,
                              withdrawn (why, if it was)
mesh:document:<sha256>        canonical JSON of one document
mesh:push                     hash: stable (the revision in force), record (the push of the newest one, JSON),
                              generation (number of writes)
mesh:push:leader              id of the control plane that leads the push; expires
mesh:push:withdrawn           list of withdrawals (JSON), newest first
mesh:registrations            hash: service/instance, gateway/name/instance → Registration (JSON)
mesh:leases                   sorted set: service/instance → deadline (ms by the store's clock)
mesh:leases:silent            hash: service/instance → time (ms) since which its agent is missed
mesh:services                 hash: service → its ports (JSON); kept after the last instance has gone
mesh:idle                     sorted set: service → time (ms) at which an instance last left cleanly
mesh:lost                     hash: service → {time (ms), instance, failure} of an instance that last did not
mesh:tokens                   hash: id of a join token → its record (JSON), never the token
mesh:tokens:expiry            sorted set: id → expiry (ms)
mesh:tokens:uses              hash: id → number of enrolments
mesh:tokens:revoked           hash: id → time of revocation (ms)
mesh:control-planes           hash: id of a control plane → its addresses (JSON)
mesh:control-planes:leases    sorted set: id of a control plane → deadline (ms)
mesh:control-planes:traces    sorted set: address of a control plane → when it last ran (ms); kept for a week
mesh:limits:<limit>:<number>  hash: key → when its bucket is full (ms); expires (limit_counters.py)
mesh:moments, mesh:moments:*  what was known of the mesh, by time (moments.py)
mesh:changes                  stream of {kind}
mesh:events                   stream of {kind, event (JSON)}
mesh:events:revision          the newest revision that has an event
mesh:events:last:<key>        hash: writer, time (ms) of the last event with this dedup key; expires after 1 h
mesh:events:batch:<writer>    number of the writer's last batch; expires after 1 h
```

A script is atomic: no reader sees half a change, and writers never interleave. Keys are not declared, so
Redis Cluster (which requires that) is not supported. Only the server's clock is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

FORMAT = 2
"""The layout above. Increase it when an older control plane would misread the data."""

CHANGES = "mesh:changes"
CHANGES_LENGTH = 10_000
DOCUMENT = "mesh:document:"
ROOT = "mesh:root"
REGISTRATIONS = "mesh:registrations"
EVENTS = "mesh:events"
EVENTS_LENGTH = 10_000
EVENTS_REVISION = "mesh:events:revision"
DEDUP_WINDOW_MS = 10_000
"""Milliseconds within which events with the same dedup key from two control planes are one event."""
DEDUP_TTL = 3600
"""Seconds for which dedup keys and batch numbers are kept."""
SWEEP_LIMIT = 1000
"""Expired entries removed by one script, so that none blocks the store for long. The next one continues."""

RunScript = Callable[..., Awaitable[list[Any]]]
"""Runs a script whose reply starts with format and newest revision, and checks these (`Store._run`)."""


@dataclass(frozen=True, slots=True)
class Script:
    """A step: `name` for messages, `text` in Lua."""

    name: str
    text: str


_PRELUDE = f"""
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function text(number) return string.format('%.0f', number) end
local function announce(kind)
  redis.call('XADD', '{CHANGES}', 'MAXLEN', '~', '{CHANGES_LENGTH}', '*', 'kind', kind)
end
local function remove(key, failure)
  redis.call('ZREM', 'mesh:leases', key)
  redis.call('HDEL', 'mesh:leases:silent', key)
  if redis.call('HDEL', 'mesh:registrations', key) == 0 then return 0 end
  local service, instance = string.match(key, '^(.*)/(.*)$')
  if failure == '' or redis.call('HGET', 'mesh:services', service) == '[]' then
    redis.call('HDEL', 'mesh:lost', service)
    redis.call('ZADD', 'mesh:idle', text(now()), service)
  else
    redis.call('ZREM', 'mesh:idle', service)
    redis.call('HSET', 'mesh:lost', service,
      cjson.encode({{time = text(now()), instance = instance, failure = failure}}))
  end
  return 1
end
local function forget(service)
  for _, key in ipairs({{'mesh:services', 'mesh:lost'}}) do redis.call('HDEL', key, service) end
  redis.call('ZREM', 'mesh:idle', service)
end
local function live_services()
  local services = {{}}
  for _, key in ipairs(redis.call('HKEYS', 'mesh:registrations')) do
    services[string.match(key, '^(.*)/') or key] = true
  end
  return services
end
"""

_HEADER = "redis.call('GET', 'mesh:format') or '', tonumber(redis.call('GET', 'mesh:revision') or -1)"


def script(name: str, body: str) -> Script:
    """A script with `body`, which may call the functions above."""
    return Script(name, _PRELUDE + body)


OPEN = script(
    "open",
    """
-- ARGV: format, '1' to initialize an empty store, root ('' for none), start of the root that it replaces
-- returns: format, newest revision (-1: missing), the stored root
local format = redis.call('GET', 'mesh:format')
if not format and ARGV[2] == '1' and redis.call('EXISTS', 'mesh:revision') == 0 then
  redis.call('SET', 'mesh:format', ARGV[1])
  redis.call('SET', 'mesh:revision', 0)
  format = ARGV[1]
end
local root = redis.call('GET', 'mesh:root') or ''
local replaced = ARGV[4] ~= '' and string.sub(root, 1, #ARGV[4]) == ARGV[4]
if format == ARGV[1] and ARGV[3] ~= '' and (root == '' or replaced) then
  root = ARGV[3]
  redis.call('SET', 'mesh:root', root)
end
return {format or '', tonumber(redis.call('GET', 'mesh:revision') or -1), root}
""",
)

READ = script(
    "read",
    """
-- ARGV: revision ('' for the newest), '1' to include services and registrations
-- returns: format, newest revision (-1: missing), fields of the revision, the push (stable revision,
-- record, generation), services, registrations, idle
-- services with their times, lost ones, the last withdrawals
local newest = tonumber(redis.call('GET', 'mesh:revision') or -1)
local number = newest
if ARGV[1] ~= '' then number = tonumber(ARGV[1]) end
local key = 'mesh:revision:' .. text(number)
local fields = redis.call('HMGET', key, 'author', 'message', 'time', 'changed', 'documents')
local push = redis.call('HMGET', 'mesh:push', 'stable', 'record', 'generation')
local reply = {redis.call('GET', 'mesh:format') or '', newest, fields, push, {}, {}, {}, {}, {}}
if ARGV[2] == '1' then
  reply[5] = redis.call('HGETALL', 'mesh:services')
  reply[6] = redis.call('HVALS', 'mesh:registrations')
  reply[7] = redis.call('ZRANGE', 'mesh:idle', 0, -1, 'WITHSCORES')
  reply[8] = redis.call('HGETALL', 'mesh:lost')
  reply[9] = redis.call('LRANGE', 'mesh:push:withdrawn', 0, 9)
end
return reply
""",
)

HISTORY = script(
    "history",
    """
-- ARGV: limit, number to stay below ('' for none)
-- returns: format, newest revision, list of (number, author, message, time, changed, why it was withdrawn,
-- 1 if it is on trial), newest first
local newest = tonumber(redis.call('GET', 'mesh:revision') or -1)
local stable = tonumber(redis.call('HGET', 'mesh:push', 'stable') or newest)
local first = newest
if ARGV[2] ~= '' then first = math.min(newest, tonumber(ARGV[2]) - 1) end
local list = {}
for number = first, math.max(1, first - tonumber(ARGV[1]) + 1), -1 do
  local fields = redis.call('HMGET', 'mesh:revision:' .. text(number),
    'author', 'message', 'time', 'changed', 'withdrawn')
  local on_trial = number > stable and 1 or 0
  list[#list + 1] = {number, fields[1], fields[2], fields[3], fields[4], fields[5] or '', on_trial}
end
return {redis.call('GET', 'mesh:format') or '', newest, list}
""",
)

COMMIT = script(
    "commit",
    """
-- ARGV: format, base, commit id, author, message, changed, documents, '1' if it is on trial, the withdrawal
-- that it is ('' for none), why it withdraws all that is on trial, then digest and text of new documents
-- returns: format, newest revision before, number of the new revision (0: conflict), its time
-- The commit id tells a retry (the connection was lost before the reply) from a concurrent commit.
local format = redis.call('GET', 'mesh:format') or ''
local newest = tonumber(redis.call('GET', 'mesh:revision') or -1)
local number = tonumber(ARGV[2]) + 1
local key = 'mesh:revision:' .. text(number)
if format ~= ARGV[1] or newest < 0 then return {format, newest, 0, 0} end
if redis.call('HGET', key, 'commit') == ARGV[3] then
  return {format, number - 1, number, tonumber(redis.call('HGET', key, 'time'))}
end
if newest ~= number - 1 then return {format, newest, 0, 0} end
for index = 11, #ARGV, 2 do redis.call('SET', 'mesh:document:' .. ARGV[index], ARGV[index + 1]) end
local time = now()
if ARGV[9] ~= '' then
  redis.call('LPUSH', 'mesh:push:withdrawn', ARGV[9])
  redis.call('LTRIM', 'mesh:push:withdrawn', 0, 49)
  for trial = cjson.decode(ARGV[9]).stable + 1, newest do
    redis.call('HSET', 'mesh:revision:' .. text(trial), 'withdrawn', ARGV[10])
  end
end
if ARGV[8] == '1' then
  redis.call('HSETNX', 'mesh:push', 'stable', text(newest))
else
  redis.call('HSET', 'mesh:push', 'stable', text(number))
end
redis.call('HDEL', 'mesh:push', 'record')
redis.call('HINCRBY', 'mesh:push', 'generation', 1)
redis.call('DEL', key)
redis.call('HSET', key, 'commit', ARGV[3], 'author', ARGV[4], 'message', ARGV[5], 'time', text(time),
  'changed', ARGV[6], 'documents', ARGV[7])
redis.call('SET', 'mesh:revision', text(number))
announce('revision')
return {format, newest, number, time}
""",
)

RECORD_TOKEN = script(
    "record token",
    f"""
-- ARGV: id, record, expiry (ms), retention after it (ms)
-- returns: format, newest revision
local limit = text(now() - tonumber(ARGV[4]))
local expired = redis.call('ZRANGEBYSCORE', 'mesh:tokens:expiry', '-inf', limit, 'LIMIT', 0, {SWEEP_LIMIT})
for _, id in ipairs(expired) do
  redis.call('ZREM', 'mesh:tokens:expiry', id)
  for _, key in ipairs({{'mesh:tokens', 'mesh:tokens:uses', 'mesh:tokens:revoked'}}) do
    redis.call('HDEL', key, id)
  end
end
redis.call('HSET', 'mesh:tokens', ARGV[1], ARGV[2])
redis.call('ZADD', 'mesh:tokens:expiry', ARGV[3], ARGV[1])
return {{{_HEADER}}}
""",
)

TOKENS = script(
    "tokens",
    f"""
-- returns: format, newest revision, records by id, uses by id, revoked ids
return {{{_HEADER}, redis.call('HGETALL', 'mesh:tokens'), redis.call('HGETALL', 'mesh:tokens:uses'),
  redis.call('HKEYS', 'mesh:tokens:revoked')}}
""",
)

REVOKE_TOKEN = script(
    "revoke token",
    f"""
-- ARGV: id
-- returns: format, newest revision, 1, or 0 when it is not recorded
local exists = redis.call('HEXISTS', 'mesh:tokens', ARGV[1])
if exists == 1 and redis.call('HSETNX', 'mesh:tokens:revoked', ARGV[1], text(now())) == 1 then
  announce('tokens')
end
return {{{_HEADER}, exists}}
""",
)

REVOKED_TOKENS = script(
    "revoked tokens",
    f"""
-- returns: format, newest revision, ids
return {{{_HEADER}, redis.call('HKEYS', 'mesh:tokens:revoked')}}
""",
)

USE_TOKENS = script(
    "use tokens",
    f"""
-- ARGV: id and number of uses of each token
-- returns: format, newest revision
for index = 1, #ARGV, 2 do
  if redis.call('HEXISTS', 'mesh:tokens', ARGV[index]) == 1 then
    redis.call('HINCRBY', 'mesh:tokens:uses', ARGV[index], ARGV[index + 1])
  end
end
return {{{_HEADER}}}
""",
)

ANNOUNCE = script(
    "announce",
    f"""
-- ARGV: id, announcement, ttl (ms)
-- returns: format, newest revision, id and announcement of each control plane
local time = now()
if redis.call('EXISTS', 'mesh:format') == 1 then
  redis.call('ZADD', 'mesh:control-planes:leases', text(time + tonumber(ARGV[3])), ARGV[1])
  redis.call('HSET', 'mesh:control-planes', ARGV[1], ARGV[2])
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'mesh:control-planes:leases', '-inf', text(time))) do
  redis.call('ZREM', 'mesh:control-planes:leases', id)
  redis.call('HDEL', 'mesh:control-planes', id)
end
return {{{_HEADER}, redis.call('HGETALL', 'mesh:control-planes')}}
""",
)

RECORD_PRESENCE = script(
    "record presence",
    f"""
-- ARGV: address, retention (ms)
-- returns: format, newest revision, time of the trace before (ms, 0: none), now
local time, before = now(), 0
if redis.call('EXISTS', 'mesh:format') == 1 then
  before = tonumber(redis.call('ZSCORE', 'mesh:control-planes:traces', ARGV[1]) or 0)
  redis.call('ZREMRANGEBYSCORE', 'mesh:control-planes:traces', '-inf', text(time - tonumber(ARGV[2])))
  redis.call('ZADD', 'mesh:control-planes:traces', text(time), ARGV[1])
end
return {{{_HEADER}, before, time}}
""",
)

COUNT_ABSENT = script(
    "count absent",
    f"""
-- ARGV: age of the oldest and of the newest trace to count (ms)
-- returns: format, newest revision, number of control planes whose last traces are between
local time = now()
local from, to = text(time - tonumber(ARGV[1])), text(time - tonumber(ARGV[2]))
return {{{_HEADER}, redis.call('ZCOUNT', 'mesh:control-planes:traces', from, to)}}
""",
)

WITHDRAW = script(
    "withdraw",
    f"""
-- ARGV: id
-- returns: format, newest revision
redis.call('ZREM', 'mesh:control-planes:leases', ARGV[1])
redis.call('HDEL', 'mesh:control-planes', ARGV[1])
return {{{_HEADER}}}
""",
)

WRITE_EVENTS = script(
    "write events",
    f"""
-- ARGV: writer, number of the batch, then dedup key, time (ms), revision, kind, event of each entry
-- returns: format, newest revision
local writer = ARGV[1]
local function is_new(key, time, revision)
  if revision > 0 then
    if revision <= tonumber(redis.call('GET', '{EVENTS_REVISION}') or 0) then return false end
    redis.call('SET', '{EVENTS_REVISION}', text(revision))
  end
  if key == '' then return true end
  local hash = 'mesh:events:last:' .. key
  local last = redis.call('HMGET', hash, 'writer', 'time')
  if last[1] and last[1] ~= writer and math.abs(time - tonumber(last[2])) < {DEDUP_WINDOW_MS} then
    return false
  end
  redis.call('HSET', hash, 'writer', writer, 'time', text(time))
  redis.call('EXPIRE', hash, {DEDUP_TTL})
  return true
end
local batch = 'mesh:events:batch:' .. writer
local initialized = redis.call('EXISTS', 'mesh:format') == 1
if initialized and tonumber(ARGV[2]) > tonumber(redis.call('GET', batch) or 0) then
  for index = 3, #ARGV, 5 do
    if is_new(ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])) then
      redis.call('XADD', '{EVENTS}', 'MAXLEN', '~', '{EVENTS_LENGTH}', '*', 'kind', ARGV[index + 3],
        'event', ARGV[index + 4])
    end
  end
  redis.call('SET', batch, ARGV[2], 'EX', {DEDUP_TTL})
end
return {{{_HEADER}}}
""",
)
