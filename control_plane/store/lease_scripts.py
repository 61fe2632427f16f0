"""The atomic steps of registrations and leases, as Lua scripts; `lua` describes the keys."""

from __future__ import annotations

from meshwright.control_plane.store.lua import SWEEP_LIMIT, script

INSTANCES_LIMIT = 2000
"""Instances of one service: as many as one identity may have proxies (agents.reports)."""

REGISTER = script(
    "register",
    f"""
-- ARGV: service/instance, service, registration, ports of the service ('' for a gateway), ttl (ms)
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
if ARGV[4] ~= '' then redis.call('HSET', 'mesh:services', ARGV[2], ARGV[4]) end
if not current then
  redis.call('ZREM', 'mesh:idle', ARGV[2])
  redis.call('HDEL', 'mesh:lost', ARGV[2])
end
announce('instances')
return '1'
""",
)

REPLACE = script(
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

DEREGISTER = script(
    "deregister",
    """
-- ARGV: service/instance, why it failed ('': it left cleanly)
-- returns: '' not registered, '1' removed
if remove(ARGV[1], ARGV[2]) == 0 then return '' end
announce('instances')
return '1'
""",
)

KEEP = script(
    "keep",
    f"""
-- ARGV: time by which to extend a lease (ms), service/instance of each that works without its agent
-- returns: overdue leases, silent ones with the times since which they are, the time
local time = now()
for index = 2, #ARGV do
  local deadline = redis.call('ZSCORE', 'mesh:leases', ARGV[index])
  if deadline and tonumber(deadline) <= time then
    redis.call('ZADD', 'mesh:leases', text(time + tonumber(ARGV[1])), ARGV[index])
    redis.call('HSETNX', 'mesh:leases:silent', ARGV[index], text(time))
  end
end
local overdue = redis.call('ZRANGEBYSCORE', 'mesh:leases', '-inf', text(time), 'LIMIT', 0, {SWEEP_LIMIT})
return {{overdue, redis.call('HGETALL', 'mesh:leases:silent'), time}}
""",
)

SWEEP = script(
    "sweep",
    f"""
-- ARGV: end of the grace period (ms), time of the last sweep, longest gap between sweeps (ms), time after
-- which an idle service is forgotten (ms), time by which leases must have expired (ms; '': now)
-- returns: the time, '1' when the gap was too long (nothing was removed), removed service/instance
local time = now()
local last = tonumber(ARGV[2])
if time < last or time - last > tonumber(ARGV[3]) then return {{time, '1', {{}}}} end
if time < tonumber(ARGV[1]) then return {{time, '', {{}}}} end
local by = ARGV[5] == '' and time or math.min(time, tonumber(ARGV[5]))
local expired = redis.call('ZRANGEBYSCORE', 'mesh:leases', '-inf', text(by), 'LIMIT', 0, {SWEEP_LIMIT})
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

FORGET = script(
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
