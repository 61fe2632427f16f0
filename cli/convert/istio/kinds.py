"""The kinds that are read: the fields of each, and what converts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshwright.cli.convert.fields import KindFields
from meshwright.cli.convert.istio.authorization_policy import convert_authorization_policy
from meshwright.cli.convert.istio.destination_rule import convert_destination_rule
from meshwright.cli.convert.istio.entry_fields import GATEWAY, SERVICE_ENTRY, TELEMETRY
from meshwright.cli.convert.istio.fields import DESTINATION_RULE, VIRTUAL_SERVICE
from meshwright.cli.convert.istio.gateway import convert_gateway
from meshwright.cli.convert.istio.kubernetes.fields import INGRESS, INGRESS_CLASS, SERVICE
from meshwright.cli.convert.istio.kubernetes.ingress import convert_ingress, convert_ingress_class
from meshwright.cli.convert.istio.kubernetes.service import convert_service
from meshwright.cli.convert.istio.peer_authentication import convert_peer_authentication
from meshwright.cli.convert.istio.request_authentication import convert_request_authentication
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.istio.security_fields import (
    AUTHORIZATION_POLICY,
    PEER_AUTHENTICATION,
    REQUEST_AUTHENTICATION,
)
from meshwright.cli.convert.istio.service_entry import convert_service_entry
from meshwright.cli.convert.istio.sidecar import SIDECAR, convert_sidecar
from meshwright.cli.convert.istio.telemetry import convert_telemetry
from meshwright.cli.convert.istio.virtual_service import convert_virtual_service
from meshwright.cli.convert.reading import Value

GROUPS = ("networking.istio.io/", "security.istio.io/", "telemetry.istio.io/")

KUBERNETES = {"Service": "v1", "Ingress": "networking.k8s.io/v1", "IngressClass": "networking.k8s.io/v1"}
"""The apiVersion of the kinds that are not Istio's."""

KINDS: Mapping[str, KindFields] = {
    "VirtualService": VIRTUAL_SERVICE,
    "DestinationRule": DESTINATION_RULE,
    "AuthorizationPolicy": AUTHORIZATION_POLICY,
    "RequestAuthentication": REQUEST_AUTHENTICATION,
    "PeerAuthentication": PEER_AUTHENTICATION,
    "Gateway": GATEWAY,
    "ServiceEntry": SERVICE_ENTRY,
    "Telemetry": TELEMETRY,
    "Sidecar": SIDECAR,
    "Service": SERVICE,
    "Ingress": INGRESS,
    "IngressClass": INGRESS_CLASS,
}

ANNOTATED = ("Ingress", "IngressClass")
"""Kinds whose annotations say something."""

CONVERTERS: Mapping[str, Callable[[Value, str, Scope], None]] = {
    "VirtualService": convert_virtual_service,
    "DestinationRule": convert_destination_rule,
    "AuthorizationPolicy": convert_authorization_policy,
    "RequestAuthentication": convert_request_authentication,
    "PeerAuthentication": convert_peer_authentication,
    "Gateway": convert_gateway,
    "ServiceEntry": convert_service_entry,
    "Telemetry": convert_telemetry,
    "Sidecar": convert_sidecar,
    "Service": convert_service,
    "Ingress": convert_ingress,
    "IngressClass": convert_ingress_class,
}

FIRST = ("Gateway", "ServiceEntry", "Service")
"""Kinds that are converted before the others, which name what they become."""
