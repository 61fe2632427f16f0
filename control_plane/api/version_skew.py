"""Which versions of the mesh's parts do not belong together. Pure.

Neighbours of one minor version are supported either way, which is what an upgrade under traffic needs
(docs/upgrade.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from meshwright.control_plane.api.software_version import VERSION

Component = Literal["client", "control plane", "agent", "Envoy"]

NONE: Mapping[str, str] = {}

MAX_NAMES = 3
"""Places that a sentence names."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One version of one kind of part, and where it runs. An empty version: the part does not say it."""

    component: Component
    version: str
    places: tuple[str, ...]


THIS_COMMAND = Installed("client", VERSION, ("this command",))


@dataclass(frozen=True, slots=True)
class Skew:
    """Two versions that differ, and what to do if anything is to be done.

    `supported`: they work together, as they do while an upgrade lasts.
    """

    supported: bool
    difference: str
    advice: str = ""

    @property
    def message(self) -> str:
        """Both in one sentence."""
        return f"{self.difference}: {self.advice}" if self.advice else self.difference


def by_version(component: Component, versions: Mapping[str, str]) -> tuple[Installed, ...]:
    """The parts of one kind, by place, as one row for each version, the most common one first."""
    rows: dict[str, list[str]] = {}
    for place, version in versions.items():
        rows.setdefault(version, []).append(place)
    ordered = sorted(rows.items(), key=lambda row: (-len(row[1]), row[0]))
    return tuple(Installed(component, version, tuple(sorted(places))) for version, places in ordered)


def versions_of_proxies(rows: Sequence[tuple[str, str, str]]) -> tuple[Installed, ...]:
    """Agents and Envoys, from `service/name`, the agent's version and Envoy's of every proxy."""
    agents, envoys = ({row[0]: row[column] for row in rows} for column in (1, 2))
    return (*by_version("agent", agents), *by_version("Envoy", envoys))


def find_skews(parts: Sequence[Installed], obstacles: Mapping[str, str] = NONE) -> tuple[Skew, ...]:
    """What differs from the newest control plane, and Envoys of several versions.

    `obstacles`: the agents that `mesh upgrade` leaves alone, by place, with its reason.
    """
    planes = [part for part in parts if part.component == "control plane"]
    if not planes:
        return ()
    reference = max(planes, key=lambda part: _numbers(part.version))
    others = [part for part in parts if part.component != "Envoy" and part.version != reference.version]
    envoys = [part for part in parts if part.component == "Envoy"]
    skews = [
        _skew(share, reference.version, obstacle)
        for part in others
        for share, obstacle in _by_obstacle(part, obstacles)
    ]
    if len(envoys) > 1:
        versions = ", ".join(f"{part.version or 'unknown'} ({places_text(part.places)})" for part in envoys)
        skews.append(Skew(True, f"Envoys of several versions run: {versions}"))
    return tuple(skews)


def worst_skew(control_plane: str, reported: Iterable[tuple[bool, str]]) -> Skew | None:
    """The worst difference between versions in a line for a status, this command's included; None: none.

    `control_plane`: the version of the one that responded. `reported`: what it says of the others, each
    with whether they work together.
    """
    client = find_skews((THIS_COMMAND, *by_version("control plane", {"": control_plane})))
    skews = [*((skew.supported, skew.difference) for skew in client), *reported]
    if not skews:
        return None
    supported, text = min(skews, key=lambda skew: skew[0])
    more = f"; {len(skews) - 1} more" if len(skews) > 1 else ""
    return Skew(supported, f"{text}{more}: see `mesh version`")


def _by_obstacle(part: Installed, obstacles: Mapping[str, str]) -> Iterator[tuple[Installed, str]]:
    """A part of one version, divided by what is in the way of `mesh upgrade`; "" where nothing is."""
    reasons: dict[str, list[str]] = {}
    for place in part.places:
        reason = obstacles.get(place, "") if part.component == "agent" else ""
        reasons.setdefault(reason, []).append(place)
    for reason in sorted(reasons):
        yield Installed(part.component, part.version, tuple(reasons[reason])), reason


def is_supported(version: str, other: str) -> bool:
    """Whether two versions work together: the same major version, and minor ones at most one apart."""
    left, right = _numbers(version), _numbers(other)
    return left[0] == right[0] and abs(left[1] - right[1]) <= 1


def places_text(places: Sequence[str]) -> str:
    """The first places by name, and how many more there are."""
    more = len(places) - MAX_NAMES
    return ", ".join(places[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _skew(part: Installed, reference: str, obstacle: str) -> Skew:
    subject = (
        part.component if part.component == "client" else f"{part.component} of {places_text(part.places)}"
    )
    if not part.version:
        difference = f"{subject}: does not say its version, so it is older"
        return Skew(True, difference, obstacle or "run `mesh upgrade` there")
    newer = _numbers(part.version) > _numbers(reference)
    older = "install that version here" if part.component == "client" else "run `mesh upgrade` there"
    supported = is_supported(part.version, reference)
    limit = "" if supported else ", more than one minor version apart, which is not supported"
    difference = f"{subject}: version {part.version}, the control plane has {reference}{limit}"
    return Skew(supported, difference, obstacle or ("run `mesh upgrade`" if newer else older))


def _numbers(version: str) -> tuple[int, int, int]:
    """Major, minor and patch version; zeros for what is missing."""
    digits = [int(number) for number in re.findall(r"\d{1,6}", version)[:3]]
    major, minor, patch = [*digits, 0, 0, 0][:3]
    return major, minor, patch
