"""Durations as Go writes them, in Istio's, Kuma's and Consul's documents."""

from __future__ import annotations

import re
from datetime import timedelta

from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies import duration

MAX_MILLISECONDS = 99_999 * 3_600_000
"""The longest duration that the Gateway API can write with hours alone."""

_UNITS = {"h": 3_600_000.0, "m": 60_000.0, "s": 1000.0, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "ns": 1e-6}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:h|ms|m|us|µs|ns|s))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(h|ms|m|us|µs|ns|s)")


def read_duration(value: Value | None) -> str | None:
    """Go's duration as ours; None if it is missing, or none at all."""
    if value is None:
        return None
    text = value.string()
    if not _DURATION.fullmatch(text):
        value.problem(f"is {text!r}, not a duration: it is not converted")
        return None
    milliseconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(text))
    if milliseconds > MAX_MILLISECONDS or round(milliseconds) != milliseconds:
        value.problem(f"is {text!r}, not a number of whole milliseconds up to 99999h: it is not converted")
        return None
    return duration.render(timedelta(milliseconds=milliseconds))
