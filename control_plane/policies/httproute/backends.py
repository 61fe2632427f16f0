"""Where an HTTPRoute sends requests: a Service or a Subset of one."""

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
    kind: Literal["Service", "Subset"] = Field("Service", description="What `name` names.")
    name: Name = Field(description="The Service or Subset.")
    namespace: NoNamespace = Field("", description="Accepted when empty: a mesh has no namespaces.")
    port: PortNumber | None = Field(
        None, description="A declared port of the service; left out: its first http port."
    )

    @model_validator(mode="after")
    def _group_fits(self) -> Self:
        if (self.kind == "Subset") != (self.group == "meshwright.io"):
            right = "meshwright.io" if self.kind == "Subset" else "''"
            raise ValueError(f"a {self.kind} is of group {right}: write so")
        return self
