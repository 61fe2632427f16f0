"""Evicted enrolments, for all control planes of a store, until their certificates have expired.

```
mesh:evictions            hash: enrolment → Eviction (JSON)
mesh:evictions:expiry     sorted set: enrolment → expiry (ms) of its last certificate
```
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from meshwright.control_plane.callers import Eviction
from meshwright.control_plane.store.lua import CHANGES, CHANGES_LENGTH, RunScript, Script
from meshwright.control_plane.store.revisions import UNREADABLE

_READ_HEADER = """
local header = {redis.call('GET', 'mesh:format') or '', tonumber(redis.call('GET', 'mesh:revision') or -1)}
"""

_EVICT = Script(
    "evict",
    f"""
-- ARGV: enrolment, eviction and expiry (ms) of each
-- returns: format, newest revision
local time = redis.call('TIME')
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'mesh:evictions:expiry', '-inf', time[1] * 1000)) do
  redis.call('ZREM', 'mesh:evictions:expiry', id)
  redis.call('HDEL', 'mesh:evictions', id)
end
for index = 1, #ARGV, 3 do
  redis.call('HSET', 'mesh:evictions', ARGV[index], ARGV[index + 1])
  redis.call('ZADD', 'mesh:evictions:expiry', ARGV[index + 2], ARGV[index])
end
redis.call('XADD', '{CHANGES}', 'MAXLEN', '~', '{CHANGES_LENGTH}', '*', 'kind', 'evictions')
{_READ_HEADER}
return header
""",
)

_EVICTIONS = Script(
    "evictions",
    f"""
-- returns: format, newest revision, evictions
{_READ_HEADER}
header[3] = redis.call('HVALS', 'mesh:evictions')
return header
""",
)


class EvictionStore:
    """The evictions of one mesh. Both methods raise StoreError when the store is unavailable."""

    def __init__(self, run: RunScript) -> None:
        self._run = run

    async def add(self, evictions: Iterable[Eviction]) -> None:
        """Store evictions, and tell every control plane."""
        arguments: list[str | int] = []
        for eviction in evictions:
            arguments += (eviction.enrolment, json.dumps(asdict(eviction)), round(eviction.expires * 1000))
        await self._run(_EVICT, *arguments)

    async def list(self) -> tuple[Eviction, ...]:
        """All evictions that are in force. Values that cannot be read are left out."""
        _, _, texts = await self._run(_EVICTIONS)
        return tuple(eviction for text in texts if (eviction := _parse(text)) is not None)


def _parse(text: str) -> Eviction | None:
    try:
        return Eviction(**json.loads(text))
    except UNREADABLE:
        return None
