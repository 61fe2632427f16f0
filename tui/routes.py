"""Which screen shows a place. Screens are imported when they are first shown, so that the start is quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.places import Edge, Happenings, Node, Place, Policy, Proxy, Revision, Service, Tab, Trace, Traces

if TYPE_CHECKING:
    from tui.screens.base import MeshScreen


def screen_of(place: Place) -> MeshScreen:
    """A new screen that shows a place."""
    match place:
        case Tab("topology") | Node() | Edge():
            from tui.screens.topology import TopologyScreen

            return TopologyScreen(place)
        case Trace():
            from tui.screens.trace import TraceScreen

            return TraceScreen(place)
        case Tab("traces") | Traces():
            from tui.screens.traces import TracesScreen

            return TracesScreen(place)
        case Policy():
            from tui.screens.policy import PolicyScreen

            return PolicyScreen(place)
        case Revision():
            from tui.screens.revisions import RevisionsScreen

            return RevisionsScreen(place)
        case Tab("policies"):
            from tui.screens.policies import PoliciesScreen

            return PoliciesScreen(place)
        case Tab("events") | Happenings():
            from tui.screens.events import EventsScreen

            return EventsScreen(place)
    return _of_services_and_sidecars(place)


def _of_services_and_sidecars(place: Place) -> MeshScreen:
    match place:
        case Service(name):
            from tui.screens.service import ServiceScreen

            return ServiceScreen(place, name)
        case Proxy(name):
            from tui.screens.proxy import ProxyScreen

            return ProxyScreen(place, name)
        case Tab("sidecars"):
            from tui.screens.sidecars import SidecarsScreen

            return SidecarsScreen(place)
    from tui.screens.services import ServicesScreen

    return ServicesScreen(place)
