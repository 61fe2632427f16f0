"""When an app counts as healthy: what is asked, how often, and how many results decide."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class HealthSettings(BaseModel):
    """The health check of one workload. Times are in seconds.

    Without a `path` gRPC ports are asked by the standard health service, other ports by a TCP connection.
    The defaults (10 s, 5 s, 3) are those of Kubernetes and Consul with a longer timeout: an app that is busy
    for a quarter of a minute stays in rotation. Until its first good check an app may take `startup`; only
    then does it count as unhealthy instead of starting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = Field(None, pattern=r"^/\S*$", max_length=1024)
    interval: float = Field(10.0, ge=0.1, le=3600)
    timeout: float = Field(5.0, ge=0.1, le=3600)
    unhealthy_after: int = Field(3, ge=1, le=100)
    healthy_after: int = Field(2, ge=1, le=100)
    startup: float = Field(30.0, ge=0, le=86400)


def _expand(value: Any) -> Any:
    """A path alone is short for `{"path": ...}`."""
    if value is None or isinstance(value, str):
        return {"path": value}
    return value


HealthField = Annotated[HealthSettings, BeforeValidator(_expand)]
"""A field of HealthSettings that also takes a path."""
