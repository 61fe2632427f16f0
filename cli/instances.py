"""The instances that a command is about, by the services that its arguments name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.http import call_api
from meshwright.cli.resource_names import name_parser
from meshwright.control_plane.api import calls
from meshwright.control_plane.errors import NotFoundError

ServicesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SERVICE", parser=name_parser("service"), help="Only these services.", show_default=False
    ),
]


def select_instances(
    state: Path | None, services: Collection[str], idle: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The instances of `services`, of all if none is named.

    Raises NotFoundError for a service that has none and is not in `idle`.
    """
    everything: list[dict[str, Any]] = call_api(calls.instances(), state)["instances"]
    require_services(services, {*idle, *(item["service"] for item in everything)})
    return [item for item in everything if not services or item["service"] in services]


def is_served(instance: str, state: Path | None) -> bool:
    """Whether SERVICE/INSTANCE is healthy in the mesh, and no sidecar still waits for its configuration."""
    instances = call_api(calls.instances(), state)["instances"]
    healthy = {f"{item['service']}/{item['name']}" for item in instances if item["health"] == "healthy"}
    if instance not in healthy:
        return False
    return all(item["state"] != "pending" for item in call_api(calls.proxies(), state)["proxies"])


def require_services(services: Iterable[str], present: Collection[str]) -> None:
    """Raise NotFoundError for the first service that is not there, with the closest name."""
    for service in services:
        if service not in present:
            from meshwright.control_plane.policies.validation_messages import suggestion

            names = ", ".join(sorted(present)) or "none"
            advice = suggestion(service, sorted(present), f"the mesh has {names}")
            raise NotFoundError(f"{service}: no such service with instances: {advice}")
