"""What Prometheus is told to scrape, in the shape of its HTTP service discovery.

https://prometheus.io/docs/prometheus/latest/http_sd/
"""

from __future__ import annotations

from pydantic import ConfigDict, Field, RootModel

from meshwright.control_plane.api.models.base import ApiModel


class ScrapeTargetGroup(ApiModel):
    """Addresses that share labels. Labels that begin with `__` say how to scrape, and are not kept."""

    targets: tuple[str, ...] = Field(description="`host:port` of each.")
    labels: dict[str, str] = Field(default_factory=dict)


class ScrapeTargetList(RootModel[tuple[ScrapeTargetGroup, ...]]):
    """All of them: a JSON array, as Prometheus wants it."""

    model_config = ConfigDict(frozen=True)
