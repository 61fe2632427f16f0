"""What Kuma's policies are about, as targets and callers of ours.

The targetRef of a document names proxies: callers for its list `to`, the called service for its list `from`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshwright.cli.convert.documents import WHOLE_MESH, Document, Documents
from meshwright.cli.convert.reading import Value

SERVICE_LABELS = ("kuma.io/service", "kuma.io/display-name", "app", "k8s-app")
"""Tags and labels whose value is the name of a service."""

_GENERATED = re.compile(r"(.+?)_[^_]+_svc(?:_[0-9]+)?")
"""A name that Kuma makes of a Kubernetes Service: NAME_NAMESPACE_svc_PORT."""


def service_name(ref: Value) -> str:
    """The service that a targetRef or backendRef names; empty, and a remark, if it is something else."""
    for field in ("kind", "namespace", "mesh"):
        ref.get(field)
    name = ref.text("name")
    labels = {key: value.string() for key in ("tags", "labels") for key, value in ref.mapping(key).items()}
    others = set(labels) - set(SERVICE_LABELS)
    names = [*([name] if name else []), *(labels[key] for key in SERVICE_LABELS if key in labels)]
    if others or len(set(names)) != 1:
        ref.problem("does not name one service, so what is about it is not converted")
        return ""
    match = _GENERATED.fullmatch(names[0])
    return match[1] if match else names[0]


def proxies(spec: Value) -> list[str] | None:
    """The services whose proxies a document is for; empty for all, None and a remark for other ones."""
    ref = spec.get("targetRef")
    return [] if ref is None else _services(ref, "nothing of the document is converted")


def clients(entry: Value) -> list[str] | None:
    """The callers of an entry of `from`, in the same way."""
    ref = entry.get("targetRef")
    return [] if ref is None else _services(ref, "the entry is not converted")


def _services(ref: Value, lost: str) -> list[str] | None:
    kind = ref.text("kind")
    has_names = any(ref.get(field) for field in ("name", "tags", "labels"))
    if kind == "Mesh" or (kind in ("Dataplane", "MeshSubset") and not has_names):
        return []
    if kind not in ("Dataplane", "MeshSubset", "MeshService"):
        ref.problem(f"{_is_a(kind)}: {lost}")
        return None
    service = service_name(ref)
    return [service] if service else None


def outbound(spec: Value, name: str) -> Iterator[tuple[str, Value, Document]]:
    """The entries of `to`: a name, the configuration, and targetRefs with the callers."""
    callers = proxies(spec)
    if callers is None:
        spec.skip()
        return
    for index, entry in enumerate(spec.items("to")):
        ref, default = entry.get("targetRef"), entry.get("default")
        target = _destination(ref) if ref else None
        if ref is None:
            entry.problem("has no targetRef: it is not converted")
        elif target is None:
            entry.skip()
        elif default:
            body: Document = {"targetRefs": [target]} | ({"from": callers} if callers else {})
            yield (name if index == 0 else f"{name}-{index + 1}"), default, body


def _is_a(kind: str) -> str:
    return f"is a {kind}" if kind else "has no kind"


def _destination(ref: Value) -> Document | None:
    kind = ref.text("kind")
    if kind == "Mesh":
        return WHOLE_MESH
    if kind == "MeshHTTPRoute":
        return {"kind": "HTTPRoute", "name": ref.text("name")}
    if kind not in ("MeshService", "MeshExternalService"):
        ref.problem(f"{_is_a(kind)}: its entry is not converted")
        return None
    if section := ref.get("sectionName"):
        section.note("is ignored: a policy is for all ports of a service")
    service = service_name(ref)
    return {"kind": kind.removeprefix("Mesh"), "name": service} if service else None


def called(spec: Value) -> list[Document] | None:
    """The targetRefs of a document whose entries are about callers: the service, or the mesh."""
    services = proxies(spec)
    if services is None:
        spec.skip()
        return None
    return [{"kind": "Service", "name": service} for service in services] or [WHOLE_MESH]


def backend_ref(ref: Value, documents: Documents) -> Document | None:
    """A backendRef; instances with tags are a Subset of the service, which is added."""
    kind = ref.text("kind")
    if kind == "MeshServiceSubset":
        labels = {key: value.string() for key, value in ref.mapping("tags").items()}
        service, values = ref.text("name"), "-".join(labels.values())
        match = _GENERATED.fullmatch(service)
        service = match[1] if match else service
        spec: Document = {"service": service, "labels": labels}
        name = documents.add_once(ref, "Subset", f"{service}-{values}", spec)
        return {"group": "meshwright.io", "kind": "Subset", "name": name} if name else None
    if kind not in ("MeshService", "MeshExternalService"):
        ref.problem(f"{_is_a(kind)}: it gets no requests")
        return None
    service, port = service_name(ref), ref.integer("port")
    if not service:
        return None
    body: Document = {"name": service} | ({"port": port} if port else {})
    return body if kind == "MeshService" else body | {"group": "meshwright.io", "kind": "ExternalService"}


def share(value: Value | None) -> float:
    """A percentage, which Kuma writes as a number or as the text of one; all without one."""
    if value is None:
        return 100.0
    try:
        return float(value.string())
    except ValueError:
        value.problem("is no percentage: it is not converted, and 0 here")
        return 0.0
