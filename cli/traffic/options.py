"""The options of `mesh demo` that are about traffic, and what they amount to."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from meshwright.cli.traffic.plan import TrafficPlan, parse_fault
from meshwright.control_plane.errors import InputError

MAX_RATE = 2000
"""Requests a second; a generator in one process measures itself beyond it."""

TrafficOption = Annotated[
    int | None,
    typer.Option("--traffic", metavar="N", min=1, max=MAX_RATE, help="Send N requests a second to it."),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Which sequence of requests. [default: 1]")
]
DurationOption = Annotated[
    float | None,
    typer.Option("--for", metavar="SECONDS", min=0.1, help="Stop after so long. [default: at Ctrl-C]"),
]
FaultOption = Annotated[
    str,
    typer.Option(
        "--fault",
        metavar="SERVICE:slow|fail[:SECONDS]",
        help="Make a service slow or failing for a while (10 s), soon after the traffic begins.",
    ),
]


def traffic_plan(
    traffic: int | None,
    *,
    seed: int | None,
    seconds: float | None,
    fault: str,
    detach: bool,
    services: frozenset[str],
) -> TrafficPlan | None:
    """What traffic is wanted, None for none; raises InputError for options that do not fit each other.

    `services` are those that a fault may hit.
    """
    if traffic is None:
        if lost := [
            name
            for name, given in (("--seed", seed), ("--for", seconds), ("--fault", fault or None))
            if given is not None
        ]:
            raise InputError(f"{lost[0]} is about traffic, and there is none: give --traffic N too")
        return None
    if detach:
        raise InputError("--traffic runs in the foreground: start the demo with --detach first, then this")
    return TrafficPlan(
        traffic,
        1 if seed is None else seed,
        math.inf if seconds is None else seconds,
        parse_fault(fault, services) if fault else None,
    )
