"""Answers with bytes in them: a head in JSON, then the bytes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_LENGTH = 4
# Bytes that tell the length of the head, the highest first.


class FrameError(Exception):
    """An answer that is none: a peer of another version, or a fault of it."""


def write(head: Mapping[str, Any], body: bytes = b"") -> bytes:
    """A frame of both."""
    told = json.dumps(head, separators=(",", ":")).encode()
    return len(told).to_bytes(_LENGTH) + told + body


def read(frame: bytes) -> tuple[dict[str, Any], bytes]:
    """Head and bytes of a frame; raises FrameError."""
    length = int.from_bytes(frame[:_LENGTH])
    if len(frame) < _LENGTH + length:
        raise FrameError("the answer is cut short")
    try:
        head = json.loads(frame[_LENGTH : _LENGTH + length])
    except ValueError:
        raise FrameError("the answer has no head") from None
    if not isinstance(head, dict):
        raise FrameError("the answer's head is no object")
    return head, frame[_LENGTH + length :]
