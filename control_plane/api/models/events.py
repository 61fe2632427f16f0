"""What happened in a mesh: events, as the store keeps them and everybody reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from meshwright.control_plane.api.models.base import ApiModel

EventKind = Literal[
    "revision", "nack", "sidecar", "breaker", "ejection", "lease", "instance", "svid", "enrolment", "store"
]
"""`revision`: policies changed; `nack`: an Envoy refuses configuration, or takes it again; `sidecar`: one
connected or left; `breaker`: one opened or closed; `ejection`: hosts taken out or let back; `lease`: it ended
unrenewed; `instance`: its health; `svid`: a certificate; `enrolment`: a refused one; `store`: its state.
"""

Severity = Literal["info", "warning", "error"]

EventId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}-[0-9]{1,15}$")]
"""`<ms since the epoch>-<number>`: of two events the later written one has the larger id."""

MESSAGE_LIMIT = 2000
"""Characters of an event's message: as much of Envoy's words as fits a screen."""


class Event(ApiModel):
    """One thing that happened."""

    id: str = Field("", description="Grows with every event; empty until it is stored.")
    time: float = Field(description="Seconds since the epoch, by the clock of who noticed.")
    kind: str = Field(description="What it is about, e.g. revision, nack, breaker.")
    subject: str = Field(description="Whom it concerns: a proxy, an instance, an edge, an identity.")
    message: str = Field(description="What happened, in words.")
    severity: Severity = "info"
    author: str = Field("", description="Who caused it, where that is known.")
    revision: int = Field(0, description="The revision it belongs to; 0 when none.")


class EventList(ApiModel):
    """Events, the newest first."""

    events: tuple[Event, ...] = ()


def event_sort_key(id: str) -> tuple[int, int]:
    """An event's id as two numbers that compare as events do."""
    first, _, second = id.partition("-")
    return int(first), int(second)
