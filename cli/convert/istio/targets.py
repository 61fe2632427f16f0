"""What Istio's security policies apply to, as targetRefs."""

from __future__ import annotations

from meshwright.cli.convert.documents import WHOLE_MESH, Document, service_target
from meshwright.cli.convert.reading import Value

SERVICE_LABELS = ("app", "app.kubernetes.io/name", "service.istio.io/canonical-name")
"""Labels whose value is by convention the name of the service that the workloads are behind."""


def read_targets(
    document: Value, spec: Value | None, selector_field: str = "selector", labels_field: str = "matchLabels"
) -> list[Document] | None:
    """The targetRefs: a service by the usual label, or what is named; without any the whole mesh.

    None, and a remark, if it is something else: then nothing of the document is converted.
    """
    refs = spec.items("targetRefs") if spec else []
    if spec and not refs and (single := spec.get("targetRef")):
        refs = [single]
    if refs:
        return _named(document, refs)
    selector = spec.get(selector_field) if spec else None
    labels = selector.mapping(labels_field) if selector else {}
    if selector is None or not labels:
        return [WHOLE_MESH]
    names = {labels[key].string() for key in SERVICE_LABELS if key in labels}
    if len(labels) == 1 and len(names) == 1:
        return service_target(names.pop())
    selector.problem(f"is not by the label {SERVICE_LABELS[0]} alone: {_LOST}")
    _skip(document)
    return None


_LOST = "nothing of the document is converted, so write it for the service"


def _named(document: Value, refs: list[Value]) -> list[Document] | None:
    targets: list[Document] = []
    for ref in refs:
        kind, name = ref.text("kind"), ref.text("name")
        ref.get("group")
        if kind not in ("Service", "Gateway"):
            ref.problem(f"is a {kind}: {_LOST}")
            _skip(document)
            return None
        targets.append({"kind": kind, "name": name})
    return targets


def _skip(document: Value) -> None:
    """One remark is enough for a document of which nothing is converted."""
    if spec := document.get("spec"):
        spec.skip()
