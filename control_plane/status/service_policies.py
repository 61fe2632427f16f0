"""The policies of a service or of one edge, with their states. Pure."""

from __future__ import annotations

from meshwright.control_plane.api.models.policies import ServicePolicies
from meshwright.control_plane.core.translate import Translation


def service_policies(translation: Translation | None, name: str, caller: str = "") -> ServicePolicies | None:
    """The policies that target `name`, or with `caller` one edge to it; None for an unknown name."""
    if translation is None or (
        name not in translation.world.services and name not in translation.world.gateways
    ):
        return None
    return ServicePolicies(service=name, from_=caller)
