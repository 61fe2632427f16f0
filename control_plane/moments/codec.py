"""Moments as compact text: JSON with short numbers and without defaults, compressed, in base64.

Base64 since the store's connection carries text; it costs a third of a few kilobytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import Any

from pydantic import ValidationError

from meshwright.control_plane.api.models.moments import Moment

MAX_JSON = 32 * 1024 * 1024
"""Bytes that a stored moment may have once it is decompressed: far more than a mesh of thousands of edges."""


class UnreadableMomentError(ValueError):
    """A stored text is not a moment."""


def encode(moment: Moment) -> str:
    """The text of a moment. The trends of services are left out: they are what moments add up to."""
    rows = tuple(row.model_copy(update={"history": None}) for row in moment.services.services)
    slim = moment.model_copy(update={"services": moment.services.model_copy(update={"services": rows})})
    value = slim.model_dump(mode="json", by_alias=True, exclude_defaults=True, warnings=False)
    for row in value["services"].get("services", ()):
        row.pop("history", None)
    text = json.dumps(_shortened(value), separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(text, 9)).decode()


def decode(text: str) -> Moment:
    """The moment of a text; raises UnreadableMomentError."""
    try:
        inflater = zlib.decompressobj()
        inflated = inflater.decompress(base64.b64decode(text, validate=True), MAX_JSON)
        return Moment.model_validate_json(inflated)
    except (binascii.Error, zlib.error, ValidationError) as error:
        raise UnreadableMomentError(type(error).__name__) from None


def _shortened(value: Any) -> Any:
    """The value with floats of at most six decimals, and three from 1 on: a millisecond of a time."""
    if isinstance(value, float):
        return round(value, 3 if abs(value) >= 1 else 6)
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return [_shortened(inner) for inner in value] if isinstance(value, list | tuple) else value
