"""What the conversion of one document knows of all others, and the documents that it makes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies import duration
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.policies.validation_messages import distinct_errors, error_message

Document: TypeAlias = dict[str, Any]
"""A document as plain values, as YAML has it."""

GATEWAY_API = "gateway.networking.k8s.io/v1"
OWN_API = "meshwright.io/v1"

MESH = "mesh"
"""Istio's word for all sidecars, in lists of gateways."""

MAX_MILLISECONDS = 99_999 * 3_600_000
"""The longest duration that the Gateway API can write with hours alone."""

_UNITS = {"h": 3_600_000.0, "m": 60_000.0, "s": 1000.0, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "ns": 1e-6}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:h|ms|m|us|µs|ns|s))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(h|ms|m|us|µs|ns|s)")
_SERVICE_HOST = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CLUSTER_SUFFIX = re.compile(r"\.[^.]+\.svc(\.[^.]+)*")


@dataclass(slots=True)
class Scope:
    """What all documents define, and what was made so far."""

    subsets: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """By service and name, whether it has labels: a subset without them is the whole service."""

    issuers: tuple[str, ...] = ()
    """The issuers of all RequestAuthentications."""

    namespaces: frozenset[str] = frozenset()
    """The namespaces of all documents; a policy without a selector is for one of them."""

    documents: list[Document] = field(default_factory=list)

    def add(self, source: Value, kind: str, name: str, spec: Document, api: str = OWN_API) -> str:
        """Add a document if it is valid; otherwise say at `source` why there is none.

        Returns its name, which has a number if there is another one; empty without a document.
        """
        taken = {item["metadata"]["name"] for item in self.documents if item["kind"] == kind}
        free, count = name, 1
        while free in taken:
            count += 1
            free = f"{name}-{count}"
        document = {"apiVersion": api, "kind": kind, "metadata": {"name": free}, "spec": spec}
        if problem := invalid(kinds()[kind], document):
            source.problem(f"makes an invalid {kind}, so there is none: {problem}", below=False)
            return ""
        self.documents.append(json.loads(json.dumps(document)))  # no part is shared: YAML would have aliases
        return free


def invalid(model: type[BaseModel], value: Any) -> str:
    """What one of our models has against a value; empty if it is valid."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return "; ".join(error_message(model, item) for item in distinct_errors(error))
    return ""


def service_target(service: str) -> list[Document]:
    """The targetRefs of a policy for a service."""
    return [{"kind": "Service", "name": service}]


def read_duration(value: Value | None) -> str | None:
    """Istio's (Go's) duration as ours; None if it is missing, or none at all."""
    if value is None:
        return None
    text = value.string()
    if not _DURATION.fullmatch(text):
        value.problem(f"is {text!r}, not a duration: it is not converted")
        return None
    milliseconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if milliseconds > MAX_MILLISECONDS or round(milliseconds) != milliseconds:
        value.problem(f"is {text!r}, not a number of whole milliseconds up to 99999h: it is not converted")
        return None
    return duration.render(timedelta(milliseconds=milliseconds))


def service_name(host: str) -> str:
    """The service behind a host: `orders`, `orders.shop.svc.cluster.local`; empty for any other host."""
    label = _CLUSTER_SUFFIX.sub("", host)
    return label if _SERVICE_HOST.fullmatch(label) else ""


def backend_ref(scope: Scope, destination: Value) -> Document | None:
    """Istio's Destination as a backendRef; None, and a remark, if it is not in the mesh."""
    host = destination.get("host")
    service = service_name(host.string()) if host else ""
    subset, port = destination.get("subset"), destination.get("port")
    number = port.integer("number") if port else None
    if not service:
        (host or destination).problem("is not a service of the mesh: add an ExternalService and name it here")
        return None
    ref: Document = {"name": service}
    if subset is not None:
        name = subset.string()
        if (service, name) not in scope.subsets:
            subset.problem(f"is {name!r}, which no DestinationRule here defines: add Subset {service}-{name}")
        if scope.subsets.get((service, name), True):
            ref = {"group": "meshwright.io", "kind": "Subset", "name": f"{service}-{name}"}
    return ref | ({"port": number} if number else {})
