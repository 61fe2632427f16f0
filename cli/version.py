"""`mesh version`: which release of each part of the mesh runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level, colorize, echo, print_data, print_table, sanitize, status_text
from meshwright.cli.version_skew import Installed, Skew, by_version, find_skews, places_text
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.software_version import VERSION

THIS_COMMAND = Installed("client", VERSION, ("this command",))

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
    parts = (THIS_COMMAND,) if client else all_parts(state)
    skews = find_skews(parts)
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
    reported = [proxy for proxy in proxies if proxy["reported"]]
    agents = {f"{proxy['service']}/{proxy['name']}": proxy.get("agent", "") for proxy in reported}
    envoys = {f"{proxy['service']}/{proxy['name']}": proxy["version"] for proxy in reported}
    return (
        *by_version("control plane", planes),
        *by_version("agent", agents),
        *by_version("Envoy", envoys),
    )


def all_parts(state: Path | None) -> tuple[Installed, ...]:
    """This command and the parts of the mesh; raises UnreachableError or ApiError."""
    status, proxies = call_api(calls.status(), state), call_api(calls.proxies(), state)["proxies"]
    return (THIS_COMMAND, *mesh_parts(status, proxies))


def versions_document(state: Path | None) -> dict[str, Any]:
    """What `mesh version -o json` prints."""
    parts = all_parts(state)
    return _document(parts, find_skews(parts))


def _document(parts: Sequence[Installed], skews: Sequence[Skew]) -> dict[str, Any]:
    return {
        "items": [
            {"component": part.component, "version": part.version, "where": list(part.places)}
            for part in parts
        ],
        "skews": [{"supported": skew.supported, "message": skew.message} for skew in skews],
    }
