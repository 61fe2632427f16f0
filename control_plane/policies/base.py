"""What every policy kind is: a frozen document, how several of it combine, and hooks into Envoy resources.

A kind is one folder with a `policy.py` that holds a subclass of `Policy` (or `TargetedPolicy`). The hooks
below do nothing by default; a kind overrides those it needs. Hooks see Envoy resources and nothing of the
world: what a kind may depend on is in its own document.

Kinds run in the order of `order` (gaps of 100), lowest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic.alias_generators import to_camel

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.api.spiffe import NAME_PATTERN

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3

Combine = Literal["override", "all", "resource"]
TargetKind = Literal["Mesh", "Service", "HTTPRoute", "GRPCRoute", "Gateway"]
OptionalName = Annotated[str, StringConstraints(pattern=f"^({NAME_PATTERN})?$")]


class Spec(BaseModel):
    """Base of all parts of a document: immutable, hashable, camelCase in YAML, refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Metadata(Spec):
    """`name` is unique within a kind; labels and annotations are for people and tools."""

    name: Name = Field(description="The document's name, unique within its kind.")
    labels: dict[str, str] = Field(default_factory=dict, description="Free words; nothing depends on them.")
    annotations: dict[str, str] = Field(
        default_factory=dict, description="Free words; nothing depends on them."
    )


class TargetRef(Spec):
    """What a policy is attached to. `name` may be left out for Mesh only."""

    group: str = Field("", description="Accepted as Gateway API writes it; nothing depends on it.")
    kind: TargetKind = Field(description="Mesh means every service.")
    name: OptionalName = Field("", description="The target's name; left out for Mesh only.")
    section_name: OptionalName = Field(
        "", description="A rule of a route, or a listener of a Gateway, by its name."
    )


class Policy(BaseModel):
    """A document of any kind. Subclasses narrow `kind`, `api_version` and `spec`.

    `combine` says what happens where several apply: `override`, the most specific one wins whole; `all`,
    every one applies; `resource`, it is not attached but named by others (Subset) or is itself a route.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 0

    api_version: str
    kind: str
    metadata: Metadata = Field(description="What the document is called.")
    spec: Any

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def ref(self) -> str:
        """`Kind/name`, as users and provenance write it."""
        return f"{self.kind}/{self.metadata.name}"


@dataclass(frozen=True, slots=True)
class EndpointWeights:
    """How requests are shared among the endpoints of a destination.

    `weights`: labels and the weight of instances that carry them all; the first that matches holds, others
    have 1. `own_zone_first`: other zones get what the caller's cannot take.
    """

    weights: tuple[tuple[tuple[tuple[str, str], ...], int], ...] = ()
    prefer_local_zone: bool = False


class TargetedSpec(Spec):
    """A spec with Gateway-API-style attachment, and the hooks its kind uses.

    The hooks sit on the spec, because an inline timeout or retry of a route is a spec without a document.
    """

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service", "HTTPRoute", "GRPCRoute"})

    target_refs: tuple[TargetRef, ...] = Field(
        (), max_length=64, description="What this applies to; the most specific target wins."
    )
    from_: tuple[Name, ...] = Field(
        (), alias="from", max_length=64, description="Only for calls by these services; empty: by all."
    )

    @field_validator("target_refs")
    @classmethod
    def _targets(cls, refs: tuple[TargetRef, ...]) -> tuple[TargetRef, ...]:
        for ref in refs:
            if ref.kind not in cls.target_kinds:
                allowed = ", ".join(sorted(cls.target_kinds))
                raise ValueError(f"{ref.kind} is no target of this kind: use one of {allowed}")
            if bool(ref.name) == (ref.kind == "Mesh"):
                advice = "leave it out" if ref.name else f"name the {ref.kind}"
                raise ValueError(
                    f"a target of kind {ref.kind} has {'a' if ref.name else 'no'} name: {advice}"
                )
            if ref.section_name and ref.kind in ("Mesh", "Service"):
                raise ValueError(f"a {ref.kind} has no sections: leave sectionName out")
        return refs

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Change a caller's route; may split it in several, tried in the order given."""
        return [route]

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Change a caller's cluster of the destination."""

    def patch_inbound_route(self, route: v3.Route) -> None:
        """Change the route by which a service's own sidecar hands a request to the app."""

    def endpoint_weights(self) -> EndpointWeights | None:
        """How a caller's requests are shared among the destination's endpoints; None: as they are."""
        return None

    def inapplicable_reason(self, target: TargetRef) -> str:  # noqa: ARG002  kinds override it
        """Why a field can do nothing on this target, in words; empty when all fields work."""
        return ""


class TargetedPolicy(Policy):
    """A document whose spec is attached by targetRefs, of which it has at least one."""

    spec: TargetedSpec

    @field_validator("spec")
    @classmethod
    def _attached(cls, spec: TargetedSpec) -> TargetedSpec:
        if not spec.target_refs:
            raise ValueError("targetRefs is missing, so nothing would change: name a Mesh, Service or route")
        return spec
