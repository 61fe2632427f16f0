"""Leases whose agents fell silent while their instances work: silence is doubt about the observer.

A frozen or dead agent renews no lease of its host, although Envoys and apps go on. Such an instance keeps its
lease for as long as its Envoy shows that it works, and is listed as silent until its agent renews again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from types import MappingProxyType

from meshwright.control_plane.store import lease_scripts
from meshwright.control_plane.store.connection import Connection
from meshwright.control_plane.store.leases import InstanceKey

WhichWork = Callable[[Collection[InstanceKey]], Awaitable[Collection[InstanceKey]]]
"""Those of some instances that show that they work, apart from their agents."""


class SilentLeases:
    """`since`: when the agent of each silent instance was first missed, in epoch seconds (the store's clock).

    `ttl` is that of leases, in seconds.
    """

    def __init__(self, connection: Connection, ttl: float) -> None:
        self._connection = connection
        self._extension = round(ttl * 1000 / 3)
        self.since: Mapping[InstanceKey, float] = MappingProxyType({})

    async def keep(self, which_work: WhichWork) -> int:
        """Extend the overdue leases of instances that work. Returns the time, for `sweep`.

        A lease that expires later has not been checked. Raises StoreError.
        """
        overdue, silent, time = await self._connection.run_script(lease_scripts.KEEP, self._extension)
        alive = await which_work([_parse(text) for text in overdue]) if overdue else ()
        if alive:
            keys = [str(key) for key in alive]
            _, silent, _ = await self._connection.run_script(lease_scripts.KEEP, self._extension, *keys)
        pairs = zip(silent[::2], silent[1::2], strict=True)
        self.since = MappingProxyType({_parse(text): float(since) / 1000 for text, since in pairs})
        return int(time)


def _parse(text: str) -> InstanceKey:
    service, _, instance = text.rpartition("/")
    return InstanceKey(service, instance)
