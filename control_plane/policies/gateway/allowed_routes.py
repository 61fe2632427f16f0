"""Which routes may attach to a listener: by kind and by namespace (Gateway API v1 `AllowedRoutes`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Spec

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label that every namespace of Kubernetes carries: its name. A mesh's namespace has no other."""


class LabelRequirement(Spec):
    """One expression of a label selector."""

    key: str = Field(max_length=317, description="The label's key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How values compare.")
    values: tuple[str, ...] = Field((), max_length=64, description="For In and NotIn.")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet the requirement, as Kubernetes defines it."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
        return value is None


class LabelSelector(Spec):
    """A selector of namespaces; all its parts must match."""

    match_labels: dict[str, str] = Field(default_factory=dict, description="Labels with their values.")
    match_expressions: tuple[LabelRequirement, ...] = Field((), max_length=64, description="Expressions.")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet every requirement."""
        exact = all(labels.get(key) == value for key, value in self.match_labels.items())
        return exact and all(requirement.matches(labels) for requirement in self.match_expressions)


class RouteNamespaces(Spec):
    """From which namespaces routes may attach."""

    from_: Literal["All", "Same", "Selector", "None"] = Field(
        "Same",
        alias="from",
        description="All and Same are equivalent: a mesh is one namespace. None: no route.",
    )
    selector: LabelSelector | None = Field(
        None, description=f"For Selector. The namespace's only label is {NAMESPACE_LABEL}."
    )

    @model_validator(mode="after")
    def _has_selector(self) -> Self:
        if self.from_ == "Selector" and self.selector is None:
            raise ValueError("from is Selector and there is no selector: add one, or write All")
        return self

    def allows(self, namespace: str) -> bool:
        """Whether a route of this namespace may attach."""
        if self.from_ != "Selector" or self.selector is None:
            return self.from_ != "None"
        return self.selector.matches({NAMESPACE_LABEL: namespace})


class RouteGroupKind(Spec):
    """A kind of route that a listener accepts."""

    group: str = Field(
        "gateway.networking.k8s.io", max_length=253, description="The group of the route's kind."
    )
    kind: str = Field(min_length=1, max_length=63, description="The kind of the route.")


class AllowedRoutes(Spec):
    """Which routes may attach."""

    namespaces: RouteNamespaces = Field(RouteNamespaces(), description="From which namespaces.")
    kinds: tuple[RouteGroupKind, ...] = Field(
        (), max_length=8, description="Of which kinds. Empty: every kind that the protocol allows."
    )
