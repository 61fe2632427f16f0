"""The store's atomic steps, as Lua that runs inside Redis or Valkey, and the keys they touch.

```
mesh:format            "1"; a newer one is refused
mesh:revision          the newest revision's number
mesh:revision:<n>      hash: author, why, time (ms), changed, documents (JSON), token
mesh:doc:<sha256>      canonical JSON of one document
mesh:registrations     hash: instance → Registration (JSON)
mesh:leases            sorted set: instance → deadline (ms since the epoch, by the store's clock)
mesh:services          hash: service → its ports (JSON); kept after the last instance has left
mesh:tokens            hash: id of a join token → whom it is for (JSON), never the token
mesh:tokens:expiry     sorted set: id → when it expires (ms)
mesh:tokens:uses       hash: id → enrolments
mesh:tokens:revoked    hash: id → when it was revoked (ms)
mesh:planes            hash: id of a control plane → where it answers (JSON)
mesh:planes:leases     sorted set: id of a control plane → deadline (ms)
mesh:changes           stream of {kind}
mesh:events            stream of {kind, event (JSON)}
mesh:events:revision   the newest revision that was told of
mesh:events:told:<t>   hash: writer, time (ms): who told a topic last; forgotten after an hour
mesh:events:writer:<w> number of the last batch of a writer; forgotten after an hour
```

A script is one step to everybody else, so no reader sees half a change and no two writers mix. Keys are not
declared, hence Redis Cluster (which would need that) is not supported. Time is the server's alone.
"""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = 1
"""The layout above; raise it when an older control plane would misread the data."""

CHANGES = "mesh:changes"
CHANGES_LENGTH = 10_000
EVENTS = "mesh:events"
EVENTS_LENGTH = 10_000
EVENTS_REVISION = "mesh:events:revision"
DEDUP_WINDOW_MS = 10_000
"""Milliseconds within which the same told by two control planes is one event."""
DEDUP_TTL = 3600
"""Seconds for which is remembered who told what."""
SWEEP_LIMIT = 1000
"""Leases ended by one sweep, so that none holds the store for long; the next sweep takes the rest."""


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
local function remove(instance)
  redis.call('ZREM', 'mesh:leases', instance)
  return redis.call('HDEL', 'mesh:registrations', instance)
end
local function owner(registration) return cjson.decode(registration)['service'] end
"""


def _script(name: str, body: str) -> Script:
    return Script(name, _PRELUDE + body)


OPEN = _script(
    "open",
    """
-- ARGV: format, whether an empty store may be taken ('1')
-- gives: format, newest revision (-1: missing)
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
-- ARGV: revision ('' for the newest), '1' to add what is registered
-- gives: format, newest revision (-1: missing), fields of the revision, services, registrations
local newest = tonumber(redis.call('GET', 'mesh:revision') or -1)
local wanted = newest
if ARGV[1] ~= '' then wanted = tonumber(ARGV[1]) end
local key = 'mesh:revision:' .. text(wanted)
local fields = redis.call('HMGET', key, 'author', 'why', 'time', 'changed', 'documents')
local answer = {redis.call('GET', 'mesh:format') or '', newest, fields, {}, {}}
if ARGV[2] == '1' then
  answer[4] = redis.call('HGETALL', 'mesh:services')
  answer[5] = redis.call('HVALS', 'mesh:registrations')
end
return answer
""",
)

HISTORY = _script(
    "history",
    """
-- ARGV: how many, number to stay below ('' for none)
-- gives: format, newest revision, list of (number, author, why, time, changed), newest first
local newest = tonumber(redis.call('GET', 'mesh:revision') or -1)
local first = newest
if ARGV[2] ~= '' then first = math.min(newest, tonumber(ARGV[2]) - 1) end
local list = {}
for number = first, math.max(1, first - tonumber(ARGV[1]) + 1), -1 do
  local fields = redis.call('HMGET', 'mesh:revision:' .. text(number), 'author', 'why', 'time', 'changed')
  list[#list + 1] = {number, fields[1], fields[2], fields[3], fields[4]}
end
return {redis.call('GET', 'mesh:format') or '', newest, list}
""",
)

COMMIT = _script(
    "commit",
    """
-- ARGV: format, base, token, author, why, changed, documents, then digest and text of each new document
-- gives: format, newest revision before, number of the new revision (0: conflict), its time
-- The token tells a step that is sent twice (a connection lost before the answer) from a rival's.
local format = redis.call('GET', 'mesh:format') or ''
local newest = tonumber(redis.call('GET', 'mesh:revision') or -1)
local number = tonumber(ARGV[2]) + 1
local key = 'mesh:revision:' .. text(number)
if format ~= ARGV[1] or newest < 0 then return {format, newest, 0, 0} end
if redis.call('HGET', key, 'token') == ARGV[3] then
  return {format, number - 1, number, tonumber(redis.call('HGET', key, 'time'))}
end
if newest ~= number - 1 then return {format, newest, 0, 0} end
for index = 8, #ARGV, 2 do redis.call('SET', 'mesh:doc:' .. ARGV[index], ARGV[index + 1]) end
local time = now()
redis.call('DEL', key)
redis.call('HSET', key, 'token', ARGV[3], 'author', ARGV[4], 'why', ARGV[5], 'time', text(time),
  'changed', ARGV[6], 'documents', ARGV[7])
redis.call('SET', 'mesh:revision', text(number))
announce('revision')
return {format, newest, number, time}
""",
)

REGISTER = _script(
    "register",
    """
-- ARGV: instance, service, registration, ports of the service, ttl (ms)
-- gives: '' unchanged, '1' changed, or the name of the service that owns the instance
local known = redis.call('HGET', 'mesh:registrations', ARGV[1])
if known and known ~= ARGV[3] then
  local held = owner(known)
  if held ~= ARGV[2] then return held end
end
redis.call('ZADD', 'mesh:leases', text(now() + tonumber(ARGV[5])), ARGV[1])
if known == ARGV[3] then return '' end
redis.call('HSET', 'mesh:registrations', ARGV[1], ARGV[3])
redis.call('HSET', 'mesh:services', ARGV[2], ARGV[4])
announce('instances')
return '1'
""",
)

REPLACE = _script(
    "replace",
    """
-- ARGV: instance, registration as it was read, the new one
-- gives: 1, or 0 when it is no longer what was read
if redis.call('HGET', 'mesh:registrations', ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', 'mesh:registrations', ARGV[1], ARGV[3])
announce('instances')
return 1
""",
)

DEREGISTER = _script(
    "deregister",
    """
-- ARGV: instance, service that must own it ('' for any)
-- gives: '' unknown, '1' removed, or the name of the service that owns it
local known = redis.call('HGET', 'mesh:registrations', ARGV[1])
if not known then return '' end
local held = owner(known)
if ARGV[2] ~= '' and held ~= ARGV[2] then return held end
remove(ARGV[1])
announce('instances')
return '1'
""",
)

SWEEP = _script(
    "sweep",
    f"""
-- ARGV: time before which nothing ends (ms), time of the sweep before, longest pause between sweeps (ms)
-- gives: the time, '1' when sweeping had paused (nothing was done), instances that were removed
local time = now()
local before = tonumber(ARGV[2])
if time < before or time - before > tonumber(ARGV[3]) then return {{time, '1', {{}}}} end
if time < tonumber(ARGV[1]) then return {{time, '', {{}}}} end
local ended = redis.call('ZRANGEBYSCORE', 'mesh:leases', '-inf', text(time), 'LIMIT', 0, {SWEEP_LIMIT})
for _, instance in ipairs(ended) do remove(instance) end
if #ended > 0 then announce('instances') end
return {{time, '', ended}}
""",
)

_HEADER = "redis.call('GET', 'mesh:format') or '', tonumber(redis.call('GET', 'mesh:revision') or -1)"

RECORD_TOKEN = _script(
    "record token",
    f"""
-- ARGV: id, record, when it expires (ms), how long it is kept after (ms)
-- gives: format, newest revision
local before = text(now() - tonumber(ARGV[4]))
local gone = redis.call('ZRANGEBYSCORE', 'mesh:tokens:expiry', '-inf', before, 'LIMIT', 0, {SWEEP_LIMIT})
for _, id in ipairs(gone) do
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
-- gives: format, newest revision, records by id, uses by id, revoked ids
return {{{_HEADER}, redis.call('HGETALL', 'mesh:tokens'), redis.call('HGETALL', 'mesh:tokens:uses'),
  redis.call('HKEYS', 'mesh:tokens:revoked')}}
""",
)

REVOKE_TOKEN = _script(
    "revoke token",
    f"""
-- ARGV: id
-- gives: format, newest revision, 1, or 0 when it is not on record
local known = redis.call('HEXISTS', 'mesh:tokens', ARGV[1])
if known == 1 and redis.call('HSETNX', 'mesh:tokens:revoked', ARGV[1], text(now())) == 1 then
  announce('tokens')
end
return {{{_HEADER}, known}}
""",
)

REVOKED_TOKENS = _script(
    "revoked tokens",
    f"""
-- gives: format, newest revision, ids
return {{{_HEADER}, redis.call('HKEYS', 'mesh:tokens:revoked')}}
""",
)

USE_TOKENS = _script(
    "use tokens",
    f"""
-- ARGV: id and number of uses of each token
-- gives: format, newest revision
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
-- ARGV: id, what it tells of itself, ttl (ms)
-- gives: format, newest revision, id and words of each control plane that is there
local time = now()
if redis.call('EXISTS', 'mesh:format') == 1 then
  redis.call('ZADD', 'mesh:planes:leases', text(time + tonumber(ARGV[3])), ARGV[1])
  redis.call('HSET', 'mesh:planes', ARGV[1], ARGV[2])
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'mesh:planes:leases', '-inf', text(time))) do
  redis.call('ZREM', 'mesh:planes:leases', id)
  redis.call('HDEL', 'mesh:planes', id)
end
return {{{_HEADER}, redis.call('HGETALL', 'mesh:planes')}}
""",
)

WITHDRAW = _script(
    "withdraw",
    f"""
-- ARGV: id
-- gives: format, newest revision
redis.call('ZREM', 'mesh:planes:leases', ARGV[1])
redis.call('HDEL', 'mesh:planes', ARGV[1])
return {{{_HEADER}}}
""",
)

WRITE_EVENTS = _script(
    "write events",
    f"""
-- ARGV: writer, number of the batch, then topic, time (ms), revision, kind, event of each entry
-- gives: format, newest revision
local writer = ARGV[1]
local function news(topic, time, revision)
  if revision > 0 then
    if revision <= tonumber(redis.call('GET', '{EVENTS_REVISION}') or 0) then return false end
    redis.call('SET', '{EVENTS_REVISION}', text(revision))
  end
  if topic == '' then return true end
  local key = 'mesh:events:told:' .. topic
  local told = redis.call('HMGET', key, 'writer', 'time')
  if told[1] and told[1] ~= writer and math.abs(time - tonumber(told[2])) < {DEDUP_WINDOW_MS} then return false end
  redis.call('HSET', key, 'writer', writer, 'time', text(time))
  redis.call('EXPIRE', key, {DEDUP_TTL})
  return true
end
local batch = 'mesh:events:writer:' .. writer
local ours = redis.call('EXISTS', 'mesh:format') == 1
if ours and tonumber(ARGV[2]) > tonumber(redis.call('GET', batch) or 0) then
  for index = 3, #ARGV, 5 do
    if news(ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])) then
      redis.call('XADD', '{EVENTS}', 'MAXLEN', '~', '{EVENTS_LENGTH}', '*', 'kind', ARGV[index + 3],
        'event', ARGV[index + 4])
    end
  end
  redis.call('SET', batch, ARGV[2], 'EX', {DEDUP_TTL})
end
return {{{_HEADER}}}
""",
)
