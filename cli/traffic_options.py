"""The options of `mesh demo` that are about traffic, and what they amount to."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from cli.traffic_plan import Wish, parse_fault
from control_plane.errors import InputError

MOST = 2000
"""Requests a second; a generator in one process measures itself beyond it."""

TrafficOption = Annotated[
    int | None,
    typer.Option("--traffic", metavar="N", min=1, max=MOST, help="Send N requests a second to it."),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Which sequence of requests. [default: 1]")
]
ForOption = Annotated[
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


def wish(
    traffic: int | None,
    *,
    seed: int | None,
    seconds: float | None,
    fault: str,
    detach: bool,
    services: frozenset[str],
) -> Wish | None:
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
    return Wish(
        traffic,
        1 if seed is None else seed,
        math.inf if seconds is None else seconds,
        parse_fault(fault, services) if fault else None,
    )
