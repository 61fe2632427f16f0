"""MutualTLS as the transport mode of a service: filter chains at the callee, TLS at its callers."""

from __future__ import annotations

from typing import ClassVar

from meshwright.control_plane.policies.hooks import Hooks, Symptom, TransportMode
from meshwright.control_plane.policies.mutualtls.spec import MutualTLSSpec

MODES = {
    "Strict": TransportMode.STRICT,
    "Permissive": TransportMode.PERMISSIVE,
    "Disabled": TransportMode.DISABLED,
}


class MutualTLSHooks(Hooks[MutualTLSSpec]):
    """The mode that the policy asks for."""

    explains: ClassVar[tuple[Symptom, ...]] = (Symptom("UF", ("mode",), statistic="ssl.connection_error"),)

    def transport_mode(self) -> TransportMode:
        """The strictest mode of all policies is in force."""
        return MODES[self.spec.mode]
