"""`mesh dash`: the dashboard in this terminal, or in a browser."""

from __future__ import annotations

import os
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from cli.options import StateOption, author
from control_plane.api import discovery


class Look(StrEnum):
    """The themes that there are."""

    dark = "dark"
    light = "light"
    contrast = "contrast"


def dash(
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, change nothing.")] = False,
    theme: Annotated[Look, typer.Option("--theme", help="dark, light or contrast.")] = Look.dark,
    state: StateOption = None,
) -> None:
    """Watch a mesh: topology, services, traces, policies, sidecars, events.

    Keys: 1 to 6 the screens, / search, : jump to a name, ? help, ctrl+p every command, Esc back, q quit.
    It looks for the mesh like every verb: --state, MESH_API with MESH_TOKEN_FILE, MESH_STATE, ./.mesh.
    While no control plane answers it says so and waits.

    \b
    Example:
      mesh dash
      mesh dash --read-only --theme light
    """
    from tui.app import Dash

    find = partial(discovery.find, os.environ, state)
    find()
    jaeger = os.environ.get("MESH_JAEGER_UI", "")
    Dash(find, read_only=read_only, theme_name=theme.value, author=author(), jaeger=jaeger).run()
