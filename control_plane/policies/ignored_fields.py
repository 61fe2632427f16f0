"""Fields of a valid document that have no effect here, for those who want to know what was ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshwright.control_plane.policies.base import SERVER_METADATA
from meshwright.control_plane.policies.gateway.tls import OPTIONS
from meshwright.control_plane.policies.loader import DocumentProblem, LocatedPolicy
from meshwright.control_plane.policies.validation_messages import format_path

Path = tuple[str | int, ...]

_GATEWAY_FIELDS = ("gatewayClassName", "infrastructure", "addresses", "allowedListeners")


def ignored_fields(document: LocatedPolicy) -> list[DocumentProblem]:
    """One line for each field that is accepted and ignored, at its position."""
    return [document.problem(f"{format_path(path)}: ignored", *path) for path in _paths(document.raw)]


def _paths(raw: Mapping[str, Any]) -> Iterator[Path]:
    if "status" in raw:
        yield ("status",)
    for name in raw["metadata"]:
        if name in SERVER_METADATA or name == "namespace":
            yield "metadata", name
    spec = raw["spec"]
    if raw["kind"] == "Gateway":
        yield from (("spec", name) for name in _GATEWAY_FIELDS if name in spec)
        for index, listener in enumerate(spec["listeners"]):
            options = (listener.get("tls") or {}).get("options") or {}
            for name in options:
                if name not in OPTIONS:
                    yield "spec", "listeners", index, "tls", "options", name
    parents = spec.get("parentRefs") or ()
    if spec.get("hostnames") and all(ref.get("kind") == "Service" for ref in parents):
        yield "spec", "hostnames"
