"""What the conversion of one document knows of all others, and services by their hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from meshwright.cli.convert.application import ApplicationParts
from meshwright.cli.convert.documents import Document, Documents
from meshwright.cli.convert.reading import Value

MESH = "mesh"
"""Istio's word for all sidecars, in lists of gateways."""

_SERVICE_HOST = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CLUSTER_SUFFIX = re.compile(r"\.[^.]+\.svc(\.[^.]+)*")


@dataclass(slots=True)
class IngressGateway:
    """The Gateway of an IngressClass: its first Ingress, and its listeners for HTTPS."""

    source: Value
    listeners: list[Document] = field(default_factory=list)


@dataclass(slots=True)
class Scope(Documents):
    """What all documents define, and what was made so far."""

    subsets: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """By service and name, whether it has labels: a subset without them is the whole service."""

    issuers: tuple[str, ...] = ()
    """The issuers of all RequestAuthentications."""

    namespaces: frozenset[str] = frozenset()
    """The namespaces of all documents; a policy without a selector is for one of them."""

    externals: dict[str, str] = field(default_factory=dict)
    """By host, the ExternalService that a ServiceEntry became."""

    open_listeners: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By Gateway with listeners that only redirect to HTTPS, those for routes; none if it was not made."""

    application: ApplicationParts = field(default_factory=ApplicationParts)

    ports: dict[tuple[str, str], int] = field(default_factory=dict)
    """By Service and name, the number of a port."""

    default_class: str = ""
    """The IngressClass of an Ingress that names none; empty if no document says so."""

    ingress_gateways: dict[str, IngressGateway] = field(default_factory=dict)
    """By IngressClass, the Gateway that its Ingresses share."""


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
    ref: Document
    if host and (external := scope.externals.get(host.string())):
        if subset:
            subset.problem("is not converted: hosts outside have no Subsets")
        ref = {"group": "meshwright.io", "kind": "ExternalService", "name": external}
        return ref | ({"port": number} if number else {})
    if not service:
        (host or destination).problem("is not a service of the mesh: add an ExternalService and name it here")
        return None
    ref = {"name": service}
    if subset is not None:
        name = subset.string()
        if (service, name) not in scope.subsets:
            subset.problem(f"is {name!r}, which no DestinationRule here defines: add Subset {service}-{name}")
        if scope.subsets.get((service, name), True):
            ref = {"group": "meshwright.io", "kind": "Subset", "name": f"{service}-{name}"}
    return ref | ({"port": number} if number else {})
