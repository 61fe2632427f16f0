"""`mesh get`: policies, services, instances and proxies with their status, revision and age."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli import resources
from meshwright.cli.apply import split_ref
from meshwright.cli.errors import warn
from meshwright.cli.listing import FORMATS, JSONPATH, Listing, parse_format
from meshwright.cli.options import StateOption
from meshwright.cli.output import flush
from meshwright.cli.resources import ResourceView
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.errors import NotFoundError

WATCH_INTERVAL = 1.0
"""Seconds between two looks at the mesh of --watch."""


def get(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="services, instances, proxies, or a kind of policy; in any case, singular or plural; or "
            "KIND/NAME. [default: all policies]",
        ),
    ] = "",
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of one.")] = "",
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Then print what changes, until Ctrl-C.")
    ] = False,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar=f"{'|'.join(FORMATS)}|{JSONPATH}TEMPLATE",
            help="Output format.",
        ),
    ] = "table",
    state: StateOption = None,
) -> None:
    """List policies, services, instances or proxies: status, revision and age.

    A policy's REVISION is the one that changed it last, and its AGE counts from then. A proxy's or instance's
    is the newest it has ACKed, a service's the newest that all its proxies have; AGE counts from the start.
    Policies as YAML or JSON can be applied again: a secret that reads <redacted> stays what it is.

    \b
    Example:
      mesh get
      mesh get services -o wide
      mesh get retry/inventory-retry -o yaml
      mesh get instances -w
      mesh get proxies -o jsonpath='.items[*].name'
    """
    kind, name = split_ref(kind, name)
    resource = resources.find(kind, name)
    listing = Listing(resource, parse_format(output), state, single=bool(name))
    items = _items(resource, kind, name, state)
    if not watch:
        listing.show(items)
        return
    try:
        _watch(listing, kind, name)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _items(resource: ResourceView, kind: str, name: str, state: Path | None) -> list[dict[str, Any]]:
    """The items, or the one of a name; raises NotFoundError with the closest name or kind."""
    try:
        items = resource.fetch(state)
    except ApiError as error:
        if resource.name == "policy" and error.status == 404 and (close := _closest(kind)):
            raise NotFoundError(f"{kind}: no such kind: did you mean {close}?") from None
        raise
    if resource.name == "policy" or not name:
        return items
    selected = [item for item in items if name in (item["name"], f"{item.get('service', '')}/{item['name']}")]
    if not selected:
        from meshwright.control_plane.policies.validation_messages import suggestion

        advice = suggestion(name, sorted(item["name"] for item in items), f"see `mesh get {kind}`")
        raise NotFoundError(f"no such {resource.name}: {name}: {advice}")
    return selected


def _closest(kind: str) -> str:
    """The resource whose name is nearly `kind`."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(kind.lower(), resources.PLURALS, 1, 0.8)), "")


def _watch(listing: Listing, kind: str, name: str) -> None:
    """Print every item, and from then on those that changed; a mesh that is away is waited for."""
    disconnected = False
    while True:
        try:
            listing.show_changes(_items(listing.resource, kind, name, listing.state))
            disconnected = False
        except UnreachableError as error:
            if not disconnected:
                warn(f"{error}; retrying")
            disconnected = True
        flush()
        time.sleep(WATCH_INTERVAL)
