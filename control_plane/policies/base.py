"""The base classes of policy kinds: a frozen document, its attachment, and how several policies combine.

A kind is a folder: `spec.py` holds its model, a subclass of `Policy` or `TargetedPolicy` named like the
folder; `envoy.py` holds its hooks (see `hooks.py`). Nothing here imports Envoy's messages, so validating a
document and printing a schema stay fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic.alias_generators import to_camel

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.policies.called_url import CalledURL

Combine = Literal["override", "all", "resource"]
TargetKind = Literal["Mesh", "Service", "HTTPRoute", "GRPCRoute", "Gateway", "ExternalService"]
_SUBDOMAIN = r"(?:[a-z0-9]([-a-z0-9]*[a-z0-9])?)(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
ObjectName = Annotated[str, StringConstraints(max_length=253, pattern=f"^{_SUBDOMAIN}$")]
OptionalObjectName = Annotated[str, StringConstraints(max_length=253, pattern=f"^({_SUBDOMAIN})?$")]
# Gateway API's names of objects and sections (RFC 1123 subdomains); names of services are labels.
OptionalName = Annotated[str, StringConstraints(pattern=f"^({NAME_PATTERN})?$")]


class Spec(BaseModel):
    """Base of every part of a document: immutable, hashable, camelCase in YAML, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


SERVER_METADATA = frozenset(
    {
        "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
        "deletionGracePeriodSeconds", "managedFields", "ownerReferences", "finalizers", "selfLink",
    }
)  # fmt: skip
"""Fields of `metadata` that Kubernetes' API server writes (`kubectl get -o yaml`). They are dropped."""


class Metadata(Spec):
    """`name` is unique within a kind. Labels and annotations are for people and tools."""

    name: ObjectName = Field(description="The document's name, unique within its kind.")
    namespace: OptionalName = Field(
        "", description="Accepted for Gateway API compatibility: all documents of a change are in one."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Free-form labels; the mesh ignores them."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict,
        description="Free-form annotations. The mesh reads meshwright.io/lint-ignore: rules of mesh lint.",
    )


class TargetRef(Spec):
    """What a policy is attached to. Every kind except Mesh needs a `name`."""

    group: str = Field("", description="Accepted for Gateway API compatibility and ignored.")
    kind: TargetKind = Field(description="Mesh means every service, and nothing outside the mesh.")
    name: OptionalObjectName = Field("", description="The target's name. Omit it for Mesh.")
    section_name: OptionalObjectName = Field(
        "", description="A rule of a route, by name; for some kinds a listener of a Gateway."
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _no_connections(cls, kind: object) -> object:
        if kind in ("TCPRoute", "TLSRoute"):
            raise ValueError(
                f"{kind} is no target: a policy for its connections targets the Service, or the listener of "
                "the Gateway (kind: Gateway, sectionName)"
            )
        return kind


class Policy(BaseModel):
    """A document of any kind. Subclasses narrow `kind`, `api_version` and `spec`.

    `combine` says what happens when several policies apply: `override`, the most specific policy applies;
    `all`, every policy applies; `resource`, the document is not attached but is a route or is referenced by
    other documents (Subset). Hooks run in ascending `order`; leave gaps of 100.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 0
    secret_fields: ClassVar[tuple[str, ...]] = ()
    """Fields of the spec that hold secrets (see secret_source.py)."""

    api_version: str
    kind: str
    metadata: Metadata = Field(description="Name, labels and annotations.")
    spec: Any

    @model_validator(mode="before")
    @classmethod
    def _drop_server_fields(cls, document: Any) -> Any:
        if not isinstance(document, Mapping):
            return document
        fields = {name: value for name, value in document.items() if name != "status"}
        if isinstance(metadata := fields.get("metadata"), Mapping):
            fields["metadata"] = {n: value for n, value in metadata.items() if n not in SERVER_METADATA}
        return fields

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def ref(self) -> str:
        """`Kind/name`, as users and route metadata write it."""
        return f"{self.kind}/{self.metadata.name}"


class TargetedSpec(Spec):
    """A spec attached to targets as in the Gateway API, optionally for some calling services only."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset(
        {"Mesh", "Service", "ExternalService", "HTTPRoute", "GRPCRoute"}
    )

    gateway_sections: ClassVar[bool] = False
    """Whether a policy of this kind may target one listener of a Gateway."""

    gateway_routes_only: ClassVar[bool] = False
    """Whether a policy of this kind for a route is enforced at gateways only."""

    mesh_has_gateways: ClassVar[bool] = True
    """Whether a policy of this kind for the Mesh applies to gateways, too."""

    target_refs: tuple[TargetRef, ...] = Field(
        (), max_length=64, description="What this policy applies to. The most specific target wins."
    )
    from_: tuple[Name, ...] = Field(
        (), alias="from", max_length=64, description="Only calls from these services. Empty: all calls."
    )

    @field_validator("target_refs")
    @classmethod
    def _valid_targets(cls, refs: tuple[TargetRef, ...]) -> tuple[TargetRef, ...]:
        for ref in refs:
            if ref.kind not in cls.target_kinds:
                allowed = ", ".join(sorted(cls.target_kinds))
                raise ValueError(f"{ref.kind} is not a valid target for this kind: use one of {allowed}")
            if bool(ref.name) == (ref.kind == "Mesh"):
                advice = "leave it out" if ref.name else f"name the {ref.kind}"
                raise ValueError(
                    f"a target of kind {ref.kind} has {'a' if ref.name else 'no'} name: {advice}"
                )
            if ref.section_name and ref.kind in ("Mesh", "Service", "ExternalService"):
                raise ValueError(f"a {ref.kind} has no sections: leave sectionName out")
            if ref.section_name and ref.kind == "Gateway" and not cls.gateway_sections:
                raise ValueError("a policy applies to all listeners of a Gateway: target routes instead")
        return refs

    def port_names(self) -> Iterator[tuple[str, str]]:
        """Names of services' ports that the spec uses, each with its field."""
        yield from ()

    def called_urls(self) -> Iterator[tuple[str, CalledURL]]:
        """URLs that proxies call on behalf of the policy, each with its field."""
        yield from ()

    def inapplicable_reason(self, target: TargetRef) -> str:  # noqa: ARG002  kinds override it
        """Why a field has no effect on this target. Empty when every field works."""
        return ""


class TargetedPolicy(Policy):
    """A document whose spec is attached by `targetRefs`, of which there is at least one."""

    spec: TargetedSpec

    @field_validator("spec")
    @classmethod
    def _has_targets(cls, spec: TargetedSpec) -> TargetedSpec:
        if not spec.target_refs:
            raise ValueError(
                "targetRefs is missing, so the policy has no effect: name a Mesh, Service or route"
            )
        return spec
