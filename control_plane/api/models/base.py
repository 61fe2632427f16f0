"""Base classes and field types of the API models.

Models are frozen pydantic models. Readers ignore unknown keys, so that neighbours of different versions
understand each other; only request bodies of the admin API are strict.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from meshwright.control_plane.api.hosts import reachable_ip
from meshwright.control_plane.api.spiffe import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_./]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
Protocol = Literal["http", "grpc", "tcp"]
IpAddress = Annotated[str, StringConstraints(max_length=255), AfterValidator(reachable_ip)]


class ApiModel(BaseModel):
    """Base of all API models: immutable, hashable, ignores unknown keys."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StrictModel(ApiModel):
    """Base of request bodies: camelCase keys in JSON, unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)
