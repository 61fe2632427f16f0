"""The store's atomic steps as Lua scripts, which run inside Redis or Valkey, and the keys they use.

```
mesh:format                   "2"; any other is refused
mesh:revision                 the newest revision's number
mesh:revision:<n>             hash: author, message, time (ms), changed, documents (JSON), commit
mesh:document:<sha256>        canonical JSON of one document
mesh:registrations            hash: service/instance → Registration (JSON)
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
REGISTRATIONS = "mesh:registrations"
EVENTS = "mesh:events"
EVENTS_LENGTH = 10_000
EVENTS_REVISION = "mesh:events:revision"
DEDUP_WINDOW_MS = 10_000
"""Milliseconds within which events with the same dedup key from two control planes are one event."""
DEDUP_TTL = 3600
"""Seconds for which dedup keys and batch numbers are kept."""
SWEEP_LIMIT = 1000
"""Leases removed by one sweep, so that no script blocks the store for long. The next sweep continues."""
INSTANCES_LIMIT = 2000
"""Instances of one service: as many as one identity may have proxies (agents.reports)."""

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


def _script(name: str, body: str) -> Script:
    return Script(name, _PRELUDE + body)


OPEN = _script(
    "open",
    """
-- ARGV: format, '1' to initialize an empty store
-- returns: format, newest revision (-1: missing)
local format = redis.call('GET', 'mesh:format')
if not format and ARGV[2] == '1' and redis.call('EXISTS', 'mesh:revision') == 0 then
  redis.call('SET', 'mesh:format', ARGV[1])
  redis.call('SET', 'mesh:revision', 0)
  format = ARGV[1]
end
return {format or '', tonumber(redis.call('GET', 'mesh:revision') or -1)}
""",
)

READ = _script(
    "read",
    """
-- ARGV: revision ('' for the newest), '1' to include services and registrations
-- returns: format, newest revision (-1: missing), fields of the revision, services, registrations, idle
-- services with their times, lost ones
local newest = tonumber(redis.call('GET', 'mesh:revision') or -1)
local number = newest
if ARGV[1] ~= '' then number = tonumber(ARGV[1]) end
local key = 'mesh:revision:' .. text(number)
local fields = redis.call('HMGET', key, 'author', 'message', 'time', 'changed', 'documents')
local reply = {redis.call('GET', 'mesh:format') or '', newest, fields, {}, {}, {}, {}}
if ARGV[2] == '1' then
  reply[4] = redis.call('HGETALL', 'mesh:services')
  reply[5] = redis.call('HVALS', 'mesh:registrations')
  reply[6] = redis.call('ZRANGE', 'mesh:idle', 0, -1, 'WITHSCORES')
  reply[7] = redis.call('HGETALL', 'mesh:lost')
end
return reply
""",
)

HISTORY = _script(
    "history",
    """
-- ARGV: limit, number to stay below ('' for none)
-- returns: format, newest revision, list of (number, author, message, time, changed), newest first
local newest = tonumber(redis.call('GET', 'mesh:revision') or -1)
local first = newest
if ARGV[2] ~= '' then first = math.min(newest, tonumber(ARGV[2]) - 1) end
local list = {}
for number = first, math.max(1, first - tonumber(ARGV[1]) + 1), -1 do
  local fields = redis.call('HMGET', 'mesh:revision:' .. text(number), 'author', 'message', 'time', 'changed')
  list[#list + 1] = {number, fields[1], fields[2], fields[3], fields[4]}
end
return {redis.call('GET', 'mesh:format') or '', newest, list}
""",
)

COMMIT = _script(
    "commit",
    """
-- ARGV: format, base, commit id, author, message, changed, documents, then digest and text of new documents
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
for index = 8, #ARGV, 2 do redis.call('SET', 'mesh:document:' .. ARGV[index], ARGV[index + 1]) end
local time = now()
redis.call('DEL', key)
redis.call('HSET', key, 'commit', ARGV[3], 'author', ARGV[4], 'message', ARGV[5], 'time', text(time),
  'changed', ARGV[6], 'documents', ARGV[7])
redis.call('SET', 'mesh:revision', text(number))
announce('revision')
return {format, newest, number, time}
""",
)

REGISTER = _script(
    "register",
    f"""
-- ARGV: service/instance, service, registration, ports of the service, ttl (ms)
-- returns: '' unchanged, '1' changed, 'full' when the service has too many instances
-- Instances are only counted in a mesh with so many that one service could have too many.
local current = redis.call('HGET', 'mesh:registrations', ARGV[1])
if not current and redis.call('HLEN', 'mesh:registrations') >= {INSTANCES_LIMIT} then
  local prefix, count = ARGV[2] .. '/', 0
  for _, key in ipairs(redis.call('HKEYS', 'mesh:registrations')) do
    if string.sub(key, 1, #prefix) == prefix then count = count + 1 end
  end
  if count >= {INSTANCES_LIMIT} then return 'full' end
end
redis.call('ZADD', 'mesh:leases', text(now() + tonumber(ARGV[5])), ARGV[1])
redis.call('HDEL', 'mesh:leases:silent', ARGV[1])
if current == ARGV[3] then return '' end
redis.call('HSET', 'mesh:registrations', ARGV[1], ARGV[3])
redis.call('HSET', 'mesh:services', ARGV[2], ARGV[4])
if not current then
  redis.call('ZREM', 'mesh:idle', ARGV[2])
  redis.call('HDEL', 'mesh:lost', ARGV[2])
end
announce('instances')
return '1'
""",
)

REPLACE = _script(
    "replace",
    """
-- ARGV: service/instance, registration as it was read, the new one
-- returns: 1, or 0 when the registration has changed since
if redis.call('HGET', 'mesh:registrations', ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', 'mesh:registrations', ARGV[1], ARGV[3])
announce('instances')
return 1
""",
)

DEREGISTER = _script(
    "deregister",
    """
-- ARGV: service/instance, why it failed ('': it left cleanly)
-- returns: '' not registered, '1' removed
if remove(ARGV[1], ARGV[2]) == 0 then return '' end
announce('instances')
return '1'
""",
)

KEEP = _script(
    "keep",
    f"""
-- ARGV: time by which to extend a lease (ms), service/instance of each that works without its agent
-- returns: overdue leases, silent ones with the times since which they are
local time = now()
for index = 2, #ARGV do
  local deadline = redis.call('ZSCORE', 'mesh:leases', ARGV[index])
  if deadline and tonumber(deadline) <= time then
    redis.call('ZADD', 'mesh:leases', text(time + tonumber(ARGV[1])), ARGV[index])
    redis.call('HSETNX', 'mesh:leases:silent', ARGV[index], text(time))
  end
end
local overdue = redis.call('ZRANGEBYSCORE', 'mesh:leases', '-inf', text(time), 'LIMIT', 0, {SWEEP_LIMIT})
return {{overdue, redis.call('HGETALL', 'mesh:leases:silent')}}
""",
)

SWEEP = _script(
    "sweep",
    f"""
-- ARGV: end of the grace period (ms), time of the last sweep, longest gap between sweeps (ms), time after
-- which an idle service is forgotten (ms)
-- returns: the time, '1' when the gap was too long (nothing was removed), removed service/instance
local time = now()
local last = tonumber(ARGV[2])
if time < last or time - last > tonumber(ARGV[3]) then return {{time, '1', {{}}}} end
if time < tonumber(ARGV[1]) then return {{time, '', {{}}}} end
local expired = redis.call('ZRANGEBYSCORE', 'mesh:leases', '-inf', text(time), 'LIMIT', 0, {SWEEP_LIMIT})
for _, key in ipairs(expired) do remove(key, 'its lease expired') end
local limit = text(time - tonumber(ARGV[4]))
local idle = redis.call('ZRANGEBYSCORE', 'mesh:idle', '-inf', limit, 'LIMIT', 0, {SWEEP_LIMIT})
local live = #idle > 0 and live_services() or {{}}
for _, service in ipairs(idle) do
  if live[service] then redis.call('ZREM', 'mesh:idle', service) else forget(service) end
end
if #expired + #idle > 0 then announce('instances') end
return {{time, '', expired}}
""",
)

FORGET = _script(
    "forget",
    """
-- ARGV: service
-- returns: '' not known, '1' forgotten, 'live' it has instances
if redis.call('HEXISTS', 'mesh:services', ARGV[1]) == 0 then return '' end
if live_services()[ARGV[1]] then return 'live' end
forget(ARGV[1])
announce('instances')
return '1'
""",
)

RECORD_TOKEN = _script(
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

TOKENS = _script(
    "tokens",
    f"""
-- returns: format, newest revision, records by id, uses by id, revoked ids
return {{{_HEADER}, redis.call('HGETALL', 'mesh:tokens'), redis.call('HGETALL', 'mesh:tokens:uses'),
  redis.call('HKEYS', 'mesh:tokens:revoked')}}
""",
)

REVOKE_TOKEN = _script(
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

REVOKED_TOKENS = _script(
    "revoked tokens",
    f"""
-- returns: format, newest revision, ids
return {{{_HEADER}, redis.call('HKEYS', 'mesh:tokens:revoked')}}
""",
)

USE_TOKENS = _script(
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

ANNOUNCE = _script(
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

WITHDRAW = _script(
    "withdraw",
    f"""
-- ARGV: id
-- returns: format, newest revision
redis.call('ZREM', 'mesh:control-planes:leases', ARGV[1])
redis.call('HDEL', 'mesh:control-planes', ARGV[1])
return {{{_HEADER}}}
""",
)

WRITE_EVENTS = _script(
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
