"""`mesh forget`: removes a service that has no instances."""

from __future__ import annotations

from typing import Annotated

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import StateOption
from meshwright.cli.output import echo, sanitize
from meshwright.cli.resource_names import name_parser
from meshwright.control_plane.api import calls


def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", parser=name_parser("service"), help="The service.")],
    state: StateOption = None,
) -> None:
    """Remove a service that has no instances, idle or crashed. It comes back when an instance registers.

    Idle services are forgotten an hour after their last instance left (`MESH_IDLE_TTL`); one that crashed or
    lost its lease stays until somebody forgets it, so that the failure is seen.

    \b
    Example:
      mesh forget probe
    """
    call_api(calls.forget_service(name), state)
    echo(sanitize(f"service {name} forgotten"))
