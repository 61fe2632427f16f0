"""The options of `mesh demo` for traffic, and the plan that they make."""

from __future__ import annotations

import math
import secrets
from typing import Annotated

import typer

from meshwright.cli.durations import duration_parser
from meshwright.cli.traffic.plan import TrafficPlan, parse_fault
from meshwright.control_plane.errors import InputError

MAX_RATE = 200
"""Journeys per second. Beyond that, a generator in one process measures itself."""

SEEDS = 1_000_000
"""A seed that nobody chose is below, so that it is easy to repeat."""

MAX_SECONDS = 30 * 86_400.0

TrafficOption = Annotated[
    int | None,
    typer.Option(
        "--traffic",
        metavar="N",
        min=1,
        max=MAX_RATE,
        help="Make N journeys per second: people sign up, browse, order, pay.",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Seed of the journeys. [default: another each time]"),
]
DurationOption = Annotated[
    float | None,
    typer.Option(
        "--for",
        metavar="DURATION",
        parser=duration_parser(0.1, MAX_SECONDS),
        help="Stop after this time. [default: at Ctrl-C]",
    ),
]
FaultOption = Annotated[
    str,
    typer.Option(
        "--fault",
        metavar="SERVICE:slow|fail[:DURATION]",
        help="Make a service slow or failing for a while (10s), shortly after the traffic starts.",
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
    """The plan of the options, None without --traffic; raises InputError for options that conflict.

    `services` are those that a fault may affect.
    """
    if traffic is None:
        options = (("--seed", seed), ("--for", seconds), ("--fault", fault or None))
        if unused := [name for name, value in options if value is not None]:
            raise InputError(f"{unused[0]} has no effect without --traffic N")
        return None
    if detach:
        raise InputError(
            "--traffic runs in the foreground: start the demo with --detach first, then run this"
        )
    return TrafficPlan(
        traffic,
        secrets.randbelow(SEEDS) if seed is None else seed,
        math.inf if seconds is None else seconds,
        parse_fault(fault, services) if fault else None,
    )
