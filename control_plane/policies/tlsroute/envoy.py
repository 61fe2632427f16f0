"""TLSRoute in failures: Envoy's filter chains themselves are built with the gateway's listeners."""

from __future__ import annotations

from typing import ClassVar

from meshwright.control_plane.policies.hooks import Hooks, Symptom
from meshwright.control_plane.policies.tlsroute.spec import TLSRouteSpec


class TLSRouteHooks(Hooks[TLSRouteSpec]):
    """No hook changes what other kinds made."""

    explains: ClassVar[tuple[Symptom, ...]] = (Symptom("NR"), Symptom("NC"))
