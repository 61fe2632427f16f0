"""`mesh version`: which release of each part of the mesh runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level, colorize, echo, print_data, print_table, sanitize, status_text
from meshwright.control_plane.api import calls, mesh_locator
from meshwright.control_plane.api.version_skew import (
    THIS_COMMAND,
    Installed,
    Skew,
    by_version,
    find_skews,
    places_text,
    versions_of_proxies,
)

ClientOption = Annotated[
    bool, typer.Option("--client", help="Only the version of this command, without asking a mesh.")
]


def version(
    client: ClientOption = False, output: OutputOption = Output.table, state: StateOption = None
) -> None:
    """Show the versions of this command, the control planes, the agents and the Envoys.

    What differs is listed. Versions may be one minor version apart, either way, as they are during an
    upgrade; a wider gap is not supported.

    \b
    Example:
      mesh version
      mesh version --client
      mesh version -o json | jq -r '.skews[].message'
    """
    parts, skews = ((THIS_COMMAND,), ()) if client else parts_and_skews(state)
    if output is not Output.table:
        print_data(_document(parts, skews), output)
        return
    print_table(
        ("COMPONENT", "VERSION", "WHERE"),
        [(part.component, part.version or "unknown", places_text(part.places)) for part in parts],
    )
    for skew in skews:
        level: Level = "partial" if skew.supported else "bad"
        echo(colorize(sanitize(status_text(level, skew.message))))


def mesh_parts(status: Mapping[str, Any], proxies: Sequence[Mapping[str, Any]]) -> tuple[Installed, ...]:
    """The versions of a running mesh. Proxies without a report have no known version and are left out."""
    planes = {plane["address"]: plane.get("version", "") for plane in status.get("control_planes", ())}
    planes = planes or {"this mesh": status.get("version", "")}
    rows = [
        (_place(proxy), proxy.get("agent", ""), proxy["version"]) for proxy in proxies if proxy["reported"]
    ]
    return (*by_version("control plane", planes), *versions_of_proxies(rows))


def parts_and_skews(state: Path | None) -> tuple[tuple[Installed, ...], tuple[Skew, ...]]:
    """This command and the parts of the mesh, and which do not belong together.

    Raises UnreachableError or ApiError.
    """
    status, proxies = call_api(calls.status(), state), call_api(calls.proxies(), state)["proxies"]
    parts = (THIS_COMMAND, *mesh_parts(status, proxies))
    return parts, mesh_skews(parts, state)


def mesh_skews(parts: Sequence[Installed], state: Path | None) -> tuple[Skew, ...]:
    """Which parts do not belong together, with what `mesh upgrade` would say of those on this host."""
    skews = find_skews(parts)
    if not skews:
        return ()
    from meshwright.cli.upgrade.joined import obstacles  # imports pydantic

    return find_skews(parts, obstacles(mesh_locator.state_dir(os.environ, state)))


def versions_document(state: Path | None) -> dict[str, Any]:
    """What `mesh version -o json` prints."""
    return _document(*parts_and_skews(state))


def _place(proxy: Mapping[str, Any]) -> str:
    return f"{proxy['service']}/{proxy['name']}"


def _document(parts: Sequence[Installed], skews: Sequence[Skew]) -> dict[str, Any]:
    return {
        "items": [
            {"component": part.component, "version": part.version, "where": list(part.places)}
            for part in parts
        ],
        "skews": [{"supported": skew.supported, "message": skew.message} for skew in skews],
    }
