"""Take an instance out of service: wait until every sidecar that calls it has acknowledged that it drains."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from meshwright.control_plane.api.models.instances import DrainResult
from meshwright.control_plane.core.resource import EDS
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import Instance, World

POLL_INTERVAL = 0.02
"""Seconds between two checks whether the instance is served as draining yet."""


class AckTracker(Protocol):
    """What sidecars have acknowledged (xds.push_queue.PushQueue)."""

    async def wait_acked(self, type_url: str, name: str, version: str | None = None) -> None:
        """Return once every subscribed sidecar has ACKed the resource."""


async def wait_until_drained(
    instance: str,
    served: Callable[[], Translation | None],
    acks: AckTracker,
    sleep: Callable[[float], Awaitable[None]],
) -> DrainResult:
    """Wait until every sidecar that calls the instance's service has ACKed that it drains.

    `served` returns the current translation; `sleep` sleeps for seconds.
    """
    translation = served()
    while not translation or not _is_draining(translation.world, instance):
        await sleep(POLL_INTERVAL)
        translation = served()
    for name in _clusters_of(translation, instance):
        resource = translation.snapshot.shared[EDS, name]
        await acks.wait_acked(EDS, name, resource.version)
    return DrainResult(drained=True)


def _is_draining(world: World, name: str) -> bool:
    """Whether no sidecar is to send the instance new requests."""
    return all(instance.health == "draining" for instance in _instances(world, name))


def _instances(world: World, name: str) -> Iterator[Instance]:
    return (
        instance
        for service in world.services.values()
        for instance in service.instances
        if instance.name == name
    )


def _clusters_of(translation: Translation, name: str) -> tuple[str, ...]:
    """The clusters of the service that the instance belongs to."""
    for service in translation.world.services.values():
        if any(instance.name == name for instance in service.instances):
            return tuple(cluster for cluster, _ in translation.resolver.endpoint_sets(service))
    return ()
