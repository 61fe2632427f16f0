"""Take an instance out of service: wait until every sidecar that calls it has acknowledged that it drains."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
    owner: str,
    instance: str,
    served: Callable[[], Translation | None],
    acks: AckTracker,
    sleep: Callable[[float], Awaitable[None]],
) -> DrainResult:
    """Wait until every sidecar that calls an instance has ACKed that it drains.

    `owner` is that of its Registration, a service or `gateway/name`. `served` is the current translation;
    `sleep` sleeps for seconds.
    """
    translation = served()
    while not translation or not _is_draining(translation.world, owner, instance):
        await sleep(POLL_INTERVAL)
        translation = served()
    if _instances(translation.world, owner, instance):
        for name in translation.clusters_of(owner):
            resource = translation.snapshot.shared[EDS, name]
            await acks.wait_acked(EDS, name, resource.version)
    return DrainResult(drained=True)


def _is_draining(world: World, owner: str, name: str) -> bool:
    """Whether no sidecar is to send the instance new requests."""
    return all(instance.health == "draining" for instance in _instances(world, owner, name))


def _instances(world: World, owner: str, name: str) -> tuple[Instance, ...]:
    """The instance, if it exists."""
    return tuple(instance for instance in world.instances_of(owner) if instance.name == name)
