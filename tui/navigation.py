"""Locations of the dashboard as values: what navigation leads to and a breadcrumb names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TabName = Literal["topology", "services", "traces", "policies", "sidecars", "events"]
TABS: tuple[TabName, ...] = ("topology", "services", "traces", "policies", "sidecars", "events")
"""In the order of the keys 1 to 6."""

SHORT_ID_LENGTH = 8
"""Digits of a trace ID that a breadcrumb shows."""


@dataclass(frozen=True, slots=True)
class TabLocation:
    """The first screen of a tab."""

    name: TabName

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class NodeLocation:
    """A service or gateway in the topology."""

    name: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"{self.name} in the topology"


@dataclass(frozen=True, slots=True)
class EdgeLocation:
    """The calls from one service to another, in the topology."""

    caller: str
    callee: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"{self.caller} → {self.callee}"


@dataclass(frozen=True, slots=True)
class ServiceLocation:
    """A service or gateway in detail."""

    name: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return self.name


@dataclass(frozen=True, slots=True)
class TracesLocation:
    """Traces that pass through a service; `errors`: only failed ones."""

    service: str = ""
    errors: bool = False

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"{'failed ' if self.errors else ''}traces of {self.service or 'all'}"


@dataclass(frozen=True, slots=True)
class TraceLocation:
    """One trace by its ID."""

    id: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"trace {self.id[:SHORT_ID_LENGTH]}"


@dataclass(frozen=True, slots=True)
class PolicyLocation:
    """One policy document."""

    kind: str
    name: str

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class RevisionLocation:
    """One revision of all policies."""

    number: int

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"revision {self.number}"


@dataclass(frozen=True, slots=True)
class RolloutsLocation:
    """All rollouts."""

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return "rollouts"


@dataclass(frozen=True, slots=True)
class ProxyLocation:
    """The Envoy of a sidecar or gateway in detail. `service` may be empty if only one has such a proxy."""

    name: str
    service: str = ""

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return self.name


@dataclass(frozen=True, slots=True)
class EventsLocation:
    """Events about a subject or of a kind; empty: any."""

    subject: str = ""
    kind: str = ""

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"events of {self.subject or self.kind or 'all'}"


@dataclass(frozen=True, slots=True)
class LogsLocation:
    """The logs of a service's instances, or of one proxy and the app beside it."""

    service: str
    proxy: str = ""

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"logs of {self.proxy or self.service}"


@dataclass(frozen=True, slots=True)
class LiveRequestsLocation:
    """The requests of a service or gateway as they occur, or those of one of its proxies."""

    service: str
    proxy: str = ""

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"requests of {self.proxy or self.service}"


@dataclass(frozen=True, slots=True)
class ExplainLocation:
    """What becomes of a request to a service or gateway; `caller` empty: from whoever calls it most."""

    callee: str
    caller: str = ""

    @property
    def title(self) -> str:
        """Its breadcrumb."""
        return f"explain {f'{self.caller} → ' if self.caller else ''}{self.callee}"


Location = (
    TabLocation
    | NodeLocation
    | EdgeLocation
    | ServiceLocation
    | TracesLocation
    | TraceLocation
    | PolicyLocation
    | RevisionLocation
    | RolloutsLocation
    | ProxyLocation
    | EventsLocation
    | LogsLocation
    | LiveRequestsLocation
    | ExplainLocation
)
