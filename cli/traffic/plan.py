"""The plan of the demo's traffic: how many journeys, for how long, and a fault. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from meshwright.cli.durations import parse_seconds
from meshwright.control_plane.errors import InputError

FAULT_SECONDS, MAX_FAULT_SECONDS = 10.0, 3600.0
LEAD_SECONDS = 5.0
"""Seconds of traffic before the fault, for comparison; in a short run a quarter of it."""

SLOW_DELAY = "1s"
"""Delay of the requests to a slow service: longer than the storefront waits for a part of its page."""

DEMO_SERVICES = frozenset({"catalog", "inventory", "orders", "users"})
"""Services by which a mesh is recognized as the demo."""


@dataclass(frozen=True, slots=True)
class TrafficFault:
    """What to do to a service, and for how many seconds."""

    service: str
    kind: Literal["slow", "fail"]
    seconds: float = FAULT_SECONDS

    @property
    def name(self) -> str:
        """The name of its policy."""
        return f"traffic-{self.service}"

    def document(self) -> dict[str, Any]:
        """Its policy: every request to the service is delayed, or gets a 503 instead."""
        fault = {"delay": {"fixed": SLOW_DELAY}} if self.kind == "slow" else {"abort": {"status": 503}}
        return {
            "apiVersion": "meshwright.io/v1",
            "kind": "FaultInjection",
            "metadata": {"name": self.name},
            "spec": {"targetRefs": [{"kind": "Service", "name": self.service}], **fault},
        }

    def __str__(self) -> str:
        return f"{self.service}:{self.kind}:{self.seconds:g}"


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """Journeys per second, their seed, for how many seconds (infinite: until stopped), and a fault."""

    rate: int
    seed: int
    seconds: float = math.inf
    fault: TrafficFault | None = None

    @property
    def fault_delay(self) -> float:
        """Seconds before the fault."""
        return min(LEAD_SECONDS, self.seconds / 4)


def parse_fault(text: str, services: frozenset[str]) -> TrafficFault:
    """Parse `SERVICE:slow|fail[:DURATION]`; raises InputError for another form or an unknown service."""
    service, kind, *rest = text.split(":")[:4] if ":" in text else (text, "")
    if service not in services:
        raise InputError(f"--fault {text}: no service {service}: use one of {', '.join(sorted(services))}")
    seconds = FAULT_SECONDS
    try:
        if rest:
            [duration] = rest
            seconds = parse_seconds(duration)
    except ValueError:
        seconds = 0.0
    if kind not in ("slow", "fail") or not 0 < seconds <= MAX_FAULT_SECONDS:
        raise InputError(
            f"--fault {text}: expected SERVICE:slow or SERVICE:fail with an optional duration up to "
            f"{MAX_FAULT_SECONDS:g}s, for example inventory:slow:30s"
        )
    return TrafficFault(service, "slow" if kind == "slow" else "fail", seconds)
