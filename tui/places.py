"""Places of the dashboard as values: what a jump leads to, and what a breadcrumb names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TabName = Literal["topology", "services", "traces", "policies", "sidecars", "events"]
TABS: tuple[TabName, ...] = ("topology", "services", "traces", "policies", "sidecars", "events")
"""In the order of the keys 1 to 6."""

SHORT_ID = 8
"""Digits of a trace's id that a breadcrumb shows."""


@dataclass(frozen=True, slots=True)
class Tab:
    """One of the six screens as it starts."""

    name: TabName

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class Node:
    """A service or gateway in the topology."""

    name: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"{self.name} in the topology"


@dataclass(frozen=True, slots=True)
class Edge:
    """The calls from one service to another, in the topology."""

    caller: str
    callee: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"{self.caller} → {self.callee}"


@dataclass(frozen=True, slots=True)
class Service:
    """A service or gateway in detail."""

    name: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return self.name


@dataclass(frozen=True, slots=True)
class Traces:
    """Traces that touch a service; `errors`: only those in which something failed."""

    service: str = ""
    errors: bool = False

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"{'failed ' if self.errors else ''}traces of {self.service or 'all'}"


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace by its id."""

    id: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"trace {self.id[:SHORT_ID]}"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy document."""

    kind: str
    name: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of all policies."""

    number: int

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"revision {self.number}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One sidecar or gateway's Envoy in detail."""

    name: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return self.name


@dataclass(frozen=True, slots=True)
class Happenings:
    """Events that concern a subject, or are of a kind; empty: any."""

    subject: str = ""
    kind: str = ""

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"events of {self.subject or self.kind or 'all'}"


Place = Tab | Node | Edge | Service | Traces | Trace | Policy | Revision | Proxy | Happenings


def tab_of(place: Place) -> TabName:
    """The tab under which a place lies."""
    match place:
        case Tab(name):
            return name
        case Node() | Edge():
            return "topology"
        case Service():
            return "services"
        case Traces() | Trace():
            return "traces"
        case Policy() | Revision():
            return "policies"
        case Proxy():
            return "sidecars"
        case Happenings():
            return "events"
