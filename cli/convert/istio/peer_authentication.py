"""PeerAuthentication as MutualTLS."""

from __future__ import annotations

from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.istio.targets import read_targets
from meshwright.cli.convert.reading import Value

_MODES = {"STRICT": "Strict", "PERMISSIVE": "Permissive", "DISABLE": "Disabled"}


def convert_peer_authentication(document: Value, name: str, scope: Scope) -> None:
    """Add what one PeerAuthentication says."""
    spec = document.get("spec")
    targets = read_targets(document, spec)
    settings = spec.get("mtls") if spec else None
    mode = settings.get("mode") if settings else None
    if targets is None:
        return
    if mode is None or mode.string() == "UNSET":
        document.note("PeerAuthentication sets no mode: Strict applies, unless a MutualTLS says otherwise")
        return
    if mode.string() not in _MODES:
        mode.problem(f"is {mode.string()!r}, which does not exist here: Strict applies")
        return
    ports = spec.get("portLevelMtls") if spec else None
    if ports:
        ports.problem("is not converted: a mode is for all ports of a service")
    if ports and mode.string() != "STRICT":
        mode.problem("is not converted beside portLevelMtls: Strict applies to every port")
        return
    if mode.string() != "STRICT":
        mode.note("is in force only where no MutualTLS is stricter: here the strictest one counts")
    scope.add(document, "MutualTLS", name, {"targetRefs": targets, "mode": _MODES[mode.string()]})
