"""Tracks failed requests to the control plane: shows each problem, logs an outage once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import structlog

RequestKind = Literal["identity", "lease", "membership"]

ProblemCallback = Callable[[RequestKind, str], None]
"""Receives what is wrong, and an empty string once it works again."""


class OutageLog:
    """The failed requests of one workload. Logs one line when they start and one when they end."""

    def __init__(self, workload: str, on_problem: ProblemCallback) -> None:
        self._on_problem = on_problem
        self._log = structlog.get_logger(__name__).bind(workload=workload)
        self._failing = False

    def failed(self, kind: RequestKind, reason: str) -> None:
        """A request failed."""
        self._on_problem(kind, reason)
        if not self._failing:
            self._log.warning("control plane request failed", reason=reason)
        self._failing = True

    def worked(self, kind: RequestKind) -> None:
        """A request succeeded."""
        self._on_problem(kind, "")
        if self._failing:
            self._log.info("control plane requests succeed again")
        self._failing = False
