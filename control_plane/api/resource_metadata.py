"""What Meshwright writes into the metadata of Envoy's resources, and how configuration dumps show it. Pure.

A patched resource names its patches in itself, so that whoever looks at an Envoy's configuration sees the
mark, and what shows it needs no second source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

METADATA_KEY = "meshwright"
"""The namespace of all metadata of the mesh in resources, routes and virtual hosts."""

PATCHED_BY_KEY = "patched_by"
"""The entry of a listener, cluster or route configuration that lists the policies that patched it."""


@dataclass(frozen=True, slots=True)
class PatchMark:
    """A patched resource of a dump: its type, such as `Listener`, its name, `Kind/name` of its patches."""

    type: str
    name: str
    policies: tuple[str, ...]


def patched_by(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """The patches of a resource in JSON; empty if it has none."""
    value: Any = resource
    for key in ("metadata", "filter_metadata", METADATA_KEY, PATCHED_BY_KEY):
        value = value.get(key) if isinstance(value, Mapping) else None
    return tuple(map(str, value)) if isinstance(value, list) else ()


def patch_marks(configs: Iterable[Any]) -> tuple[PatchMark, ...]:
    """Every patched resource of a configuration dump once, in the order of the dump."""
    return tuple(dict.fromkeys(mark for config in configs for mark in _marks(config)))


def _marks(value: Any) -> Iterator[PatchMark]:
    if isinstance(value, list):
        for part in value:
            yield from _marks(part)
    elif isinstance(value, Mapping):
        if policies := patched_by(value):
            kind = str(value.get("@type", "")).rpartition(".")[2]
            yield PatchMark(kind, str(value.get("name", "")), policies)
            return
        for part in value.values():
            yield from _marks(part)
