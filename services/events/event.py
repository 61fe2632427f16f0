"""An event between services, and its form in a stream. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something that happened. `id` is the same each time it is delivered."""

    name: str
    id: str
    data: Mapping[str, Any]


def to_fields(event: ServiceEvent, trace_parent: str = "") -> dict[str, str]:
    """The fields of an event's entry in its stream."""
    return {"id": event.id, "data": json.dumps(event.data), "traceparent": trace_parent}


def from_fields(name: str, fields: Mapping[str, str]) -> ServiceEvent:
    """The inverse of `to_fields`. Raises ValueError."""
    data = json.loads(fields.get("data", ""))
    if not isinstance(data, dict) or not fields.get("id"):
        raise ValueError("an event has an id and a JSON object")
    return ServiceEvent(name, fields["id"], data)
