"""What one that starts anew takes over of a peer: the histories, and how far they go. Pure.

The histories of a peer hold what came to it and what it was told by others. With them comes how far that is:
the number of its own last flush, and of the last one of each other control plane that it has taken over. So
who takes the histories over knows which flushes are in them already, and none is counted twice or missed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshwright.control_plane.cluster import frames
from meshwright.control_plane.cluster.frames import FrameError
from meshwright.control_plane.telemetry.topology.history_store import HistoryStore, SeriesKey

MAX_SERIES = 400
"""Histories that are handed over at most, those first that were added to last: 14 kB each."""


def write(courses: HistoryStore, marks: Mapping[str, int], now: float) -> bytes:
    """The histories; `marks` are numbers of flushes by the id of the control plane that they came to."""
    labels: list[list[Any]] = []
    bodies: list[bytes] = []
    for label, body in courses.serialize(now, MAX_SERIES):
        labels.append([*label, len(body)])
        bodies.append(body)
    return frames.write({"marks": dict(marks), "series": labels}, b"".join(bodies))


def read(answer: bytes) -> tuple[dict[str, int], Iterator[tuple[SeriesKey, bytes]]]:
    """The marks, and the histories one by one; both raise FrameError."""
    head, body = frames.read(answer)
    try:
        marks = {str(id): int(number) for id, number in head["marks"].items()}
        series = list(head["series"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FrameError("no past") from None
    return marks, _series(series, body)


def _series(labels: list[Any], body: bytes) -> Iterator[tuple[SeriesKey, bytes]]:
    at = 0
    for one in labels:
        try:
            kind, caller, cluster, silent, age, length = one
            label = SeriesKey(str(kind), str(caller), str(cluster), float(silent), float(age))
            part = body[at : at + int(length)]
        except (TypeError, ValueError):
            raise FrameError("no history") from None
        at += len(part)
        yield label, part
