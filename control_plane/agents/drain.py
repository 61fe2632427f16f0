"""Taking an instance out of service: until every sidecar that calls it has acknowledged that it drains."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from meshwright.control_plane.api.models.instances import DrainResult
from meshwright.control_plane.core.resource import EDS
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import Instance, World

POLL_INTERVAL = 0.02
"""Seconds between looks whether an instance is served as draining yet."""


class AckTracker(Protocol):
    """Who knows what sidecars have acknowledged: the queue of pushes."""

    async def wait_acked(self, type_url: str, name: str, version: str | None = None) -> None:
        """Return as soon as every interested sidecar has acknowledged the resource."""


async def wait_until_drained(
    instance: str,
    served: Callable[[], Translation | None],
    acks: AckTracker,
    pause: Callable[[float], Awaitable[None]],
) -> DrainResult:
    """Wait until every sidecar that calls the instance's service has ACKed that it drains.

    `served` gives what is being served at the moment; `pause` sleeps for seconds.
    """
    translation = served()
    while not translation or not _is_out(translation.world, instance):
        await pause(POLL_INTERVAL)
        translation = served()
    for name in _clusters_with(translation, instance):
        resource = translation.snapshot.shared[EDS, name]
        await acks.wait_acked(EDS, name, resource.version)
    return DrainResult(drained=True)


def _is_out(world: World, name: str) -> bool:
    """Whether no sidecar is to send the instance anything new."""
    return all(one.health == "draining" for one in _named(world, name))


def _named(world: World, name: str) -> Iterator[Instance]:
    return (one for service in world.services.values() for one in service.instances if one.name == name)


def _clusters_with(translation: Translation, name: str) -> tuple[str, ...]:
    """The clusters of the service that has the instance."""
    for service in translation.world.services.values():
        if any(one.name == name for one in service.instances):
            return tuple(cluster for cluster, _ in translation.resolver.endpoint_sets(service))
    return ()
