"""Gateway API `BackendTLSPolicy`: proxies open TLS to an ExternalService."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from meshwright.control_plane.policies.base import (
    Combine,
    Spec,
    TargetedPolicy,
    TargetedSpec,
    TargetKind,
)
from meshwright.control_plane.policies.field_types import PreciseHostname


class BackendTLSPolicyValidation(Spec):
    """What the server must prove."""

    hostname: PreciseHostname = Field(description="The name to ask for (SNI) and to verify.")
    well_known_ca_certificates: Literal["System"] = Field(
        alias="wellKnownCACertificates",
        description="The authorities of the proxy's host. For others use `tls.ca` of the ExternalService.",
    )


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
