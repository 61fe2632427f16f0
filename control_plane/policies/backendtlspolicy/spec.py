"""Gateway API `BackendTLSPolicy`: proxies open TLS to an ExternalService."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.policies.base import (
    Combine,
    Spec,
    TargetedPolicy,
    TargetedSpec,
    TargetKind,
)
from meshwright.control_plane.policies.field_types import PreciseHostname
from meshwright.control_plane.policies.gateway.tls import CaCertificateRef


class SubjectAltName(Spec):
    """A name in the server's certificate."""

    type: Literal["Hostname", "URI"] = Field(description="Which of the two fields is set.")
    hostname: PreciseHostname | Literal[""] = Field("", description="A host name.")
    uri: Annotated[str, StringConstraints(max_length=253, pattern=r"^([a-z][a-z0-9+.-]*://[^\s]+)?$")] = (
        Field("", description="A URI, such as a SPIFFE ID.")
    )

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if not self.value or (self.hostname and self.uri):
            field = "hostname" if self.type == "Hostname" else "uri"
            raise ValueError(f"type {self.type} needs {field}, and nothing else")
        return self

    @property
    def value(self) -> str:
        """The name."""
        return self.hostname if self.type == "Hostname" else self.uri


class BackendTLSPolicyValidation(Spec):
    """What the server must prove."""

    hostname: PreciseHostname = Field(
        description="The name to ask for (SNI), and to verify unless subjectAltNames are given."
    )
    ca_certificate_refs: tuple[CaCertificateRef, ...] = Field(
        (),
        max_length=8,
        description="Certificate documents whose `caFile`, on the host of each proxy that calls, has the "
        "authorities. They are read again when they change.",
    )
    well_known_ca_certificates: Literal["System", ""] = Field(
        "",
        alias="wellKnownCACertificates",
        description="System: the authorities of the proxy's host. In place of caCertificateRefs.",
    )
    subject_alt_names: tuple[SubjectAltName, ...] = Field(
        (),
        max_length=5,
        description="The certificate must have one of these names, in place of `hostname`.",
    )

    @model_validator(mode="after")
    def _one_kind_of_authorities(self) -> Self:
        if bool(self.ca_certificate_refs) == bool(self.well_known_ca_certificates):
            raise ValueError("set either caCertificateRefs or wellKnownCACertificates: System")
        return self


class BackendTLSPolicySpec(TargetedSpec):
    """The ExternalServices, and what they must prove."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"ExternalService"})

    validation: BackendTLSPolicyValidation = Field(
        description="The name and certificate that the server must have."
    )


class BackendTLSPolicy(TargetedPolicy):
    """Opens TLS from proxies to hosts outside the mesh (Gateway API v1 `BackendTLSPolicy`).

    It concerns the http, grpc and tcp ports of an ExternalService, whose `tls` it replaces. Services of the
    mesh have mutual TLS anyway.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 145

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha3"] = Field(
        description="gateway.networking.k8s.io/v1, or v1alpha3 with the same meaning."
    )
    kind: Literal["BackendTLSPolicy"] = Field(description="Always BackendTLSPolicy.")
    spec: BackendTLSPolicySpec = Field(description="Targets and validation.")
