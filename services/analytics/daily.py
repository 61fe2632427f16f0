"""Daily figures of orders, from their events. Pure.

Each event adds to one day, that of its timestamp, so the order in which events arrive does not matter, and
replaying all of them gives the same figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from meshwright.services.events.event import ServiceEvent

GROUP = "analytics"
FIGURES = {
    "order.created": "created",
    "order.confirmed": "confirmed",
    "order.cancelled": "cancelled",
    "order.shipped": "shipped",
}
"""The figure that each event counts for."""


class OrderEventData(BaseModel):
    """What the figures need of an event. Confirmed orders have a `total`, in minor units."""

    timestamp: int = Field(ge=0, lt=2**43)
    total: int = Field(0, ge=0)


@dataclass(frozen=True, slots=True)
class DailyAddition:
    """What an event adds to `figure` of a day (ISO date, UTC), and to the day's revenue in minor units."""

    day: str
    figure: str
    revenue: int


def addition(event: ServiceEvent) -> DailyAddition:
    """What an event adds. Raises ValueError for one that is not an event of an order."""
    figure = FIGURES.get(event.name)
    if figure is None:
        raise ValueError(f"not an event of an order: {event.name}")
    data = OrderEventData.model_validate(dict(event.data))
    day = datetime.fromtimestamp(data.timestamp / 1000, UTC).date().isoformat()
    return DailyAddition(day, figure, data.total if figure == "confirmed" else 0)
