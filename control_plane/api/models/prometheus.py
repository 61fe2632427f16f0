"""Scrape targets in the format of Prometheus' HTTP service discovery.

https://prometheus.io/docs/prometheus/latest/http_sd/
"""

from __future__ import annotations

from pydantic import ConfigDict, Field, RootModel

from meshwright.control_plane.api.models.base import ApiModel


class ScrapeTargetGroup(ApiModel):
    """Targets that share labels. Labels that begin with `__` configure the scrape and are then dropped."""

    targets: tuple[str, ...] = Field(description="`host:port` of each target.")
    labels: dict[str, str] = Field(default_factory=dict)


class ScrapeTargetList(RootModel[tuple[ScrapeTargetGroup, ...]]):
    """All target groups, as a JSON array."""

    model_config = ConfigDict(frozen=True)
