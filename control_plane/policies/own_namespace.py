"""References that repeat the namespace of their own document, which says nothing: a mesh has only one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_NAMESPACE = "default"
"""The namespace of a document that states none, as for kubectl."""


def drop_own_namespace(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without the references' `namespace` where it is the document's own."""
    metadata = document.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    return {**document, "spec": _without_namespace(document.get("spec"), namespace or DEFAULT_NAMESPACE)}


def _without_namespace(value: Any, namespace: str) -> Any:
    """A part of a spec whose references do not repeat the namespace of their document."""
    if isinstance(value, Mapping):
        return {
            name: _without_namespace(part, namespace)
            for name, part in value.items()
            if (name, part) != ("namespace", namespace)
        }
    return [_without_namespace(part, namespace) for part in value] if isinstance(value, list) else value
