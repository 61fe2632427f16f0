"""The options of `mesh demo` for the tour."""

from __future__ import annotations

from typing import Annotated

import typer

from meshwright.control_plane.errors import InputError

RATE = 4
"""Journeys per second under the tour, unless --traffic says otherwise."""

MIN_PACE, MAX_PACE = 0.02, 20.0

StoryOption = Annotated[
    bool,
    typer.Option("--story", help="A tour of five minutes: what a mesh does when services and people fail."),
]
PaceOption = Annotated[
    float | None,
    typer.Option(
        "--pace",
        metavar="FACTOR",
        min=MIN_PACE,
        max=MAX_PACE,
        help="How much time the tour leaves to look: 2 doubles it. [default: 1]",
    ),
]


def story_pace(story: bool, pace: float | None, *, seconds: float | None, fault: str) -> float | None:
    """The factor of the tour's times, None without --story; raises InputError for options that conflict."""
    if not story:
        if pace is not None:
            raise InputError("--pace has no effect without --story")
        return None
    for name, value in (("--for", seconds), ("--fault", fault or None)):
        if value is not None:
            raise InputError(f"{name} has no effect with --story, which has faults and an end of its own")
    return 1.0 if pace is None else pace
