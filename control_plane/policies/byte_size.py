"""Sizes in bytes as Kubernetes writes quantities: `512Ki`, `10Mi`, or a plain number."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

KIB, MIB, GIB = 2**10, 2**20, 2**30

_UNITS = {"": 1, "Ki": KIB, "Mi": MIB, "Gi": GIB}
_PATTERN = r"^([1-9][0-9]{0,14})(Ki|Mi|Gi)?$"


def parse(value: Any) -> Any:
    """A size as a number; raises ValueError for a text that is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(_PATTERN, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a size: write it like 4096, 512Ki, 10Mi or 1Gi")
    return int(match[1]) * _UNITS[match[2] or ""]


def render(value: int) -> str:
    """The size with the largest unit that divides it."""
    unit = next(name for name, size in reversed(_UNITS.items()) if value % size == 0)
    return f"{value // _UNITS[unit]}{unit}"


ByteSize = Annotated[
    int,
    BeforeValidator(parse),
    Field(ge=1),
    PlainSerializer(render, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "pattern": _PATTERN, "minimum": 1}),
]
