"""The backend of a route: a Service or a Subset of one."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import NoNamespace, PortNumber


class BackendObjectReference(Spec):
    """A Service, or a Subset by its document's name."""

    group: Literal["", "core", "meshwright.io"] = Field(
        "", description="meshwright.io for a Subset, empty for a Service."
    )
    kind: Literal["Service", "Subset"] = Field("Service", description="The kind of `name`.")
    name: Name = Field(description="The Service or Subset.")
    namespace: NoNamespace = Field("", description="Empty or the route's own: a mesh has one namespace.")
    port: PortNumber | None = Field(
        None, description="A declared port of the service. Omitted: its first http port."
    )

    @model_validator(mode="after")
    def _group_matches_kind(self) -> Self:
        if (self.kind == "Subset") != (self.group == "meshwright.io"):
            group = "meshwright.io" if self.kind == "Subset" else "''"
            raise ValueError(f"a {self.kind} has group {group}: change group or kind")
        return self
