"""Subset: the instances of one service that carry certain labels, for routes to refer to."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, Metadata, Policy, Spec
from meshwright.control_plane.policies.field_types import LabelMap

SubsetLabels = Annotated[tuple[tuple[str, str], ...], LabelMap(min_entries=1, max_entries=16)]


class SubsetSpec(Spec):
    """Which instances of which service."""

    service: Name = Field(description="The service whose instances are selected.")
    labels: SubsetLabels = Field(description="Labels an instance must carry, all of them; 1 to 16.")


class SubsetMetadata(Metadata):
    """Metadata of a Subset, whose name is a part of the name of its cluster in metrics."""

    name: Name = Field(description="The document's name, unique within its kind.")


class Subset(Policy):
    """Names the instances of a service that carry all of some labels.

    It does nothing by itself: a route sends requests to it with a backendRef of group `meshwright.io` and
    kind `Subset`. Instances get their labels in the application file.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 50

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Subset"] = Field(description="Always Subset.")
    metadata: SubsetMetadata = Field(description="Name, labels and annotations.")
    spec: SubsetSpec = Field(description="The service and the labels.")
