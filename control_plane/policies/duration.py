"""Durations as the Gateway API writes them (GEP-2257): `500ms`, `10s`, `1m30s`, `1h`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_PART = re.compile(r"([0-9]{1,5})(ms|h|m|s)")
_UNITS = (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def parse(value: Any) -> Any:
    """A duration string as a timedelta; raises ValueError for one that GEP-2257 does not allow."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(PATTERN, value):
        raise ValueError("not a duration: write it like 500ms, 10s, 1m30s or 1h")
    units = dict(_UNITS)
    return timedelta(milliseconds=sum(int(number) * units[unit] for number, unit in _PART.findall(value)))


def render(value: timedelta) -> str:
    """The shortest GEP-2257 form of a duration of whole milliseconds."""
    remainder = round(value.total_seconds() * 1000)
    parts = []
    for unit, size in _UNITS:
        count, remainder = divmod(remainder, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(render, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["500ms", "10s", "1m30s"]}),
]
