"""When each service was first ready: until then calls of it fail because the mesh is starting.

Callers that start earlier ask for what is not there yet. These calls are counted, and no verdict on a service
or gateway rests on them. What fails later is never left out, whatever the service went through.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.control_plane.core.world import Service
from meshwright.control_plane.telemetry.topology.traffic import NEVER


class FirstReadiness:
    """Remembers when each registered service was first seen with a healthy instance."""

    def __init__(self) -> None:
        self._since: dict[str, float] | None = None

    def observe(self, services: Mapping[str, Service], now: float) -> Mapping[str, float]:
        """Since when each service is known to have been ready, by the clock of `now`; others never were.

        NEVER: before this control plane looked first. Who was registered then had its start elsewhere.
        """
        before = self._since
        if before is None:
            since = {name: NEVER for name, service in services.items() if not service.is_idle}
        else:
            since = {name: before[name] for name in services if name in before}
        for name, service in services.items():
            if name not in since and any(instance.health == "healthy" for instance in service.instances):
                since[name] = now
        self._since = since
        return since
