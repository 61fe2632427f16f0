"""What a Prometheus responds to the queries of panels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

TIMEOUT = 60.0
"""Seconds for a query."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels, and pairs of time (seconds) and value. An instant query has one pair."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The last value."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus, and the range of time (seconds) that boards show."""

    url: str
    start: float
    end: float

    @property
    def step(self) -> float:
        """Seconds between two points: a point for each four pixels or so, as Grafana does."""
        return max(5.0, round((self.end - self.start) / 180))

    def range(self, expression: str) -> list[Series]:
        """The series of a range query. Raises ValueError if Prometheus refuses it."""
        times = {"start": f"{self.start}", "end": f"{self.end}", "step": f"{self.step}"}
        return self._query("query_range", query=expression, **times)

    def instant(self, expression: str) -> list[Series]:
        """The series of an instant query. Raises ValueError if Prometheus refuses it."""
        return self._query("query", query=expression, time=f"{self.end}")

    def _query(self, path: str, **parameters: str) -> list[Series]:
        try:
            response = requests.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=TIMEOUT)
            body = response.json()
        except requests.RequestException as error:
            raise ValueError(f"no Prometheus responds at {self.url}: {error}") from None
        if body["status"] != "success":
            raise ValueError(f"{parameters['query']}: {body['error']}")
        return [series for result in body["data"]["result"] if (series := _series(result)).points]


def _series(result: Mapping[str, Any]) -> Series:
    pairs = result.get("values") or [result["value"]]
    points = tuple((float(time), float(value)) for time, value in pairs)
    return Series(result["metric"], tuple(point for point in points if math.isfinite(point[1])))


def legend(pattern: str, series: Series) -> str:
    """The name of a series by Grafana's pattern; without one its labels."""
    if not pattern:
        return ", ".join(f"{name}={value}" for name, value in series.labels.items() if name != "__name__")
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: series.labels.get(match[1], ""), pattern)
