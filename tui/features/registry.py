"""Which screen shows a location. Screens are imported on first use, which keeps the start fast."""

from __future__ import annotations

from meshwright.tui.navigation import (
    EdgeLocation,
    EventsLocation,
    ExplainLocation,
    LiveRequestsLocation,
    Location,
    LogsLocation,
    NodeLocation,
    PolicyLocation,
    ProxyLocation,
    RevisionLocation,
    RolloutsLocation,
    ServiceLocation,
    TabLocation,
    TraceLocation,
    TracesLocation,
)
from meshwright.tui.screen import MeshScreen


def create_screen(location: Location) -> MeshScreen:
    """A new screen for a location."""
    match location:
        case TabLocation("topology") | NodeLocation() | EdgeLocation():
            from meshwright.tui.features.topology.screen import TopologyScreen

            return TopologyScreen(location)
        case TraceLocation():
            from meshwright.tui.features.traces.detail_screen import TraceDetailScreen

            return TraceDetailScreen(location)
        case TabLocation("traces") | TracesLocation():
            from meshwright.tui.features.traces.screen import TracesScreen

            return TracesScreen(location)
        case TabLocation("policies") | PolicyLocation() | RevisionLocation() | RolloutsLocation():
            return _policy_screen(location)
        case TabLocation("events") | EventsLocation():
            from meshwright.tui.features.events.screen import EventsScreen

            return EventsScreen(location)
        case LogsLocation():
            from meshwright.tui.features.logs.screen import LogsScreen

            return LogsScreen(location)
        case LiveRequestsLocation():
            from meshwright.tui.features.requests.screen import LiveRequestsScreen

            return LiveRequestsScreen(location)
        case ExplainLocation():
            from meshwright.tui.features.explain.screen import ExplainScreen

            return ExplainScreen(location)
    return _service_or_sidecar_screen(location)


def _policy_screen(location: Location) -> MeshScreen:
    match location:
        case PolicyLocation():
            from meshwright.tui.features.policies.detail_screen import PolicyDetailScreen

            return PolicyDetailScreen(location)
        case RevisionLocation():
            from meshwright.tui.features.policies.revisions_screen import RevisionsScreen

            return RevisionsScreen(location)
        case RolloutsLocation():
            from meshwright.tui.features.rollouts.screen import RolloutsScreen

            return RolloutsScreen(location)
    from meshwright.tui.features.policies.screen import PoliciesScreen

    return PoliciesScreen(location)


def _service_or_sidecar_screen(location: Location) -> MeshScreen:
    match location:
        case ServiceLocation():
            from meshwright.tui.features.services.detail_screen import ServiceDetailScreen

            return ServiceDetailScreen(location)
        case ProxyLocation():
            from meshwright.tui.features.sidecars.detail_screen import SidecarDetailScreen

            return SidecarDetailScreen(location)
        case TabLocation("sidecars"):
            from meshwright.tui.features.sidecars.screen import SidecarsScreen

            return SidecarsScreen(location)
    from meshwright.tui.features.services.screen import ServicesScreen

    return ServicesScreen(location)
