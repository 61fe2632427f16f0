"""Which screen shows a place. Screens are imported when they are first shown, so that the start is quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshwright.tui.navigation import (
    EdgeLocation,
    EventsLocation,
    Location,
    NodeLocation,
    PolicyLocation,
    ProxyLocation,
    RevisionLocation,
    ServiceLocation,
    TabLocation,
    TraceLocation,
    TracesLocation,
)

if TYPE_CHECKING:
    from meshwright.tui.screen import MeshScreen


def create_screen(place: Location) -> MeshScreen:
    """A new screen that shows a place."""
    match place:
        case TabLocation("topology") | NodeLocation() | EdgeLocation():
            from meshwright.tui.features.topology.screen import TopologyScreen

            return TopologyScreen(place)
        case TraceLocation():
            from meshwright.tui.features.traces.detail_screen import TraceDetailScreen

            return TraceDetailScreen(place)
        case TabLocation("traces") | TracesLocation():
            from meshwright.tui.features.traces.screen import TracesScreen

            return TracesScreen(place)
        case PolicyLocation():
            from meshwright.tui.features.policies.detail_screen import PolicyDetailScreen

            return PolicyDetailScreen(place)
        case RevisionLocation():
            from meshwright.tui.features.policies.revisions_screen import RevisionsScreen

            return RevisionsScreen(place)
        case TabLocation("policies"):
            from meshwright.tui.features.policies.screen import PoliciesScreen

            return PoliciesScreen(place)
        case TabLocation("events") | EventsLocation():
            from meshwright.tui.features.events.screen import EventsScreen

            return EventsScreen(place)
    return _service_or_sidecar_screen(place)


def _service_or_sidecar_screen(place: Location) -> MeshScreen:
    match place:
        case ServiceLocation(name):
            from meshwright.tui.features.services.detail_screen import ServiceDetailScreen

            return ServiceDetailScreen(place, name)
        case ProxyLocation(name):
            from meshwright.tui.features.sidecars.detail_screen import SidecarDetailScreen

            return SidecarDetailScreen(place, name)
        case TabLocation("sidecars"):
            from meshwright.tui.features.sidecars.screen import SidecarsScreen

            return SidecarsScreen(place)
    from meshwright.tui.features.services.screen import ServicesScreen

    return ServicesScreen(place)
