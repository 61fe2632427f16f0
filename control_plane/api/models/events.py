"""Events of the mesh, as the store keeps them and the admin API serves them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from meshwright.control_plane.api.models.base import ApiModel

EventKind = Literal[
    "revision",
    "nack",
    "sidecar",
    "breaker",
    "ejection",
    "lease",
    "instance",
    "svid",
    "enrolment",
    "store",
    "outage",
    "refusal",
    "certificate",
]
"""`revision`: policies changed. `nack`: an Envoy rejects configuration, or accepts it again. `sidecar`:
connected or disconnected. `breaker`: opened or closed. `ejection`: hosts ejected or returned. `lease`:
expired without renewal. `instance`: its health changed. `svid`: a certificate was issued. `enrolment`: one
was denied. `store`: it became available or unavailable. `outage`: a control plane is back.
`refusal`: a policy refused requests, or a proxy connections without the TLS that it requires. `certificate`:
that of a gateway is missing, broken or about to expire, or in order again.
"""

Severity = Literal["info", "warning", "error"]

EventId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}-[0-9]{1,15}$")]
"""`<epoch milliseconds>-<number>`: later events have larger ids."""

MESSAGE_LIMIT = 2000
"""Characters of an event's message: enough of Envoy's error text to fill a screen."""


class Event(ApiModel):
    """Something that happened in the mesh."""

    id: str = Field("", description="Increases with every event; empty until it is stored.")
    time: float = Field(description="Epoch seconds, by the clock of the control plane that saw it.")
    kind: str = Field(description="The kind of event, e.g. revision, nack, breaker.")
    subject: str = Field(description="What it is about: a proxy, an instance, an edge, an identity.")
    message: str = Field(description="What happened, as a sentence.")
    severity: Severity = "info"
    author: str = Field("", description="Who caused it, if known.")
    revision: int = Field(0, description="The revision it belongs to; 0: none.")


class EventList(ApiModel):
    """Events, newest first."""

    events: tuple[Event, ...] = ()


def event_sort_key(id: str) -> tuple[int, int]:
    """An event's id as two numbers that sort in the order of the events."""
    milliseconds, _, number = id.partition("-")
    return int(milliseconds), int(number)
