"""What a caller called at a service: methods and paths with their numbers, bounded. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshwright.control_plane.telemetry.requests import path_templates
from meshwright.control_plane.telemetry.requests.recent_count import RecentCount

MAX_OPERATIONS = 64
"""Methods and paths of one caller at one service: as many as a list of an Authorization has."""

MAX_METHODS = 16
"""Methods that are remembered without a path beyond these: whoever calls may invent methods."""


class CalledOperation(NamedTuple):
    """What was called. `path` is a template, or ANY; of a gRPC call `/SERVICE/METHOD`."""

    method: str
    path: str
    grpc: bool

    def covers(self, other: CalledOperation) -> bool:
        """Whether it has a template for the path of another one of the same method."""
        same = self.method == other.method and self.grpc == other.grpc
        return same and path_templates.ID in self.path and path_templates.matches(self.path, other.path)


class OperationCounts:
    """The operations of one caller at one service. If there are too many, the paths are left out."""

    def __init__(self) -> None:
        self._counts: dict[CalledOperation, RecentCount] = {}
        self._is_merged = False

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, operation: CalledOperation, now: float, *, has_room: bool) -> None:
        """Count a call. Without room for another operation only its method is remembered."""
        operation = self._admitted(operation, has_room)
        self._counts.setdefault(operation, RecentCount()).add(1.0, now)

    def totals(self, seconds: float, now: float) -> dict[CalledOperation, float]:
        """How often each was called in the last `seconds`; alternatives of an ID as one."""
        counts = {each: counted.total(seconds, now) for each, counted in self._counts.items()}
        totals: dict[CalledOperation, float] = {}
        for operation, merged in _collapse({each: n for each, n in counts.items() if n}).items():
            totals[merged] = totals.get(merged, 0.0) + counts[operation]
        return totals

    def expire(self, now: float) -> bool:
        """Forget what was not called for an hour; whether something is left."""
        self._counts = {each: counted for each, counted in self._counts.items() if counted.expire(now)}
        self._is_merged = self._is_merged and len(self._counts) >= MAX_OPERATIONS
        return bool(self._counts)

    def _admitted(self, operation: CalledOperation, has_room: bool) -> CalledOperation:
        """The operation, one that covers it, or what is left of it where there are too many."""
        if operation in self._counts:
            return operation
        if len(self._counts) >= MAX_OPERATIONS and not self._is_merged:
            self._merge_alternatives()
        covering = next((each for each in self._counts if each.covers(operation)), None)
        if covering is not None:
            return covering
        if has_room and len(self._counts) < MAX_OPERATIONS:
            return operation
        method = operation.method if len(self._counts) < MAX_OPERATIONS + MAX_METHODS else ""
        without_path = CalledOperation(method, path_templates.ANY, grpc=False)
        return (
            without_path if without_path in self._counts or has_room else CalledOperation("", "", grpc=False)
        )

    def _merge_alternatives(self) -> None:
        """Make room. It takes milliseconds: if it makes none, it is tried again when some have expired."""
        for operation, merged in _collapse(self._counts).items():
            if merged != operation:
                self._counts.setdefault(merged, RecentCount()).merge(self._counts.pop(operation))
        self._is_merged = len(self._counts) >= MAX_OPERATIONS


def _collapse(operations: Mapping[CalledOperation, object]) -> dict[CalledOperation, CalledOperation]:
    """Each operation with its path as it is where places with many alternatives are IDs."""
    collapsed: dict[CalledOperation, CalledOperation] = {}
    for method, grpc in {(operation.method, operation.grpc) for operation in operations}:
        alike = [each for each in operations if (each.method, each.grpc) == (method, grpc)]
        templates = {} if grpc else path_templates.collapse(each.path for each in alike)
        collapsed |= {each: each._replace(path=templates.get(each.path, each.path)) for each in alike}
    return collapsed
