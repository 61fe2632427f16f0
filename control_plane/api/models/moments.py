"""Moments: what was known of the mesh at one time, as the store keeps it and the admin API serves it."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.topology import ServiceList, Topology
from meshwright.control_plane.api.models.verdict import Verdict


class Moment(ApiModel):
    """The mesh at one time, as the control plane that recorded it knew it."""

    time: float = Field(description="When it was recorded, in epoch seconds.")
    revision: int = Field(description="The revision in force.")
    verdict: Verdict = Field(description="Whether the mesh was healthy, and what was wrong.")
    topology: Topology = Field(description="The service graph.")
    services: ServiceList = Field(description="Every service and gateway, without trends.")


class RecordedRange(ApiModel):
    """Which moments the store has, in epoch seconds. `earlier`, `later`: the neighbours; 0: there is none."""

    oldest: float
    newest: float
    earlier: float = 0.0
    later: float = 0.0


class PastMesh(ApiModel):
    """A moment with what else is known of it: who made its revision, its policies, what had happened."""

    at: float = Field(description="The time that was asked for, in epoch seconds.")
    moment: Moment = Field(description="The last one that was recorded until then.")
    recorded: RecordedRange
    info: RevisionInfo | None = Field(
        None, description="The revision in force: who made it, when and why; null: there was none."
    )
    policies: tuple[str, ...] = Field((), description="The policies in force, as `Kind/name`.")
    events: tuple[Event, ...] = Field((), description="The last events until then, newest first.")
