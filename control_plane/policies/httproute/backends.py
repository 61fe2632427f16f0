"""The backend of a route: a Service, a Subset of one, or an ExternalService."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import NoNamespace, PortNumber


class BackendObjectReference(Spec):
    """A Service, or a Subset or an ExternalService by its document's name."""

    group: Literal["", "core", "meshwright.io"] = Field(
        "", description="Empty for a Service, meshwright.io for the other kinds."
    )
    kind: Literal["Service", "Subset", "ExternalService"] = Field(
        "Service", description="The kind of `name`."
    )
    name: Name = Field(description="The Service, Subset or ExternalService.")
    namespace: NoNamespace = Field("", description="Empty or the route's own: a mesh has one namespace.")
    port: PortNumber | None = Field(None, description="A declared port of it. Omitted: its first http port.")

    @model_validator(mode="after")
    def _group_matches_kind(self) -> Self:
        if (self.kind == "Service") == (self.group == "meshwright.io"):
            group = "''" if self.kind == "Service" else "meshwright.io"
            raise ValueError(f"{self.kind} {self.name} has group {group}: change group or kind")
        return self
