"""What the command line says of a process that joins, and the workload that it makes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import Workload

TOKEN_FILE = "token"
"""The join token that was made for it, in the instance's folder."""

_OPTIONS = {
    "name": "--instance",
    "service": "--service",
    "ports": "--port",
    "gateway_ports": "--listener",
    "labels": "--label",
    "upstreams": "--upstream",
    "health": "--health",
    "metrics": "--metrics",
}
"""The options that a workload's fields come from."""


NamedPort = tuple[str, str, int]
"""Name, protocol, number of a port."""


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """What the command line says of the process that joins. Ports of 0 are allotted.

    `ports` are the app's: name, protocol, number. `listeners` are a gateway's, as `NAME=PORT`.
    `control_plane` is the host of a control plane that this machine has no state of; `advertise` and `bind`
    are empty where the settings are to decide.
    """

    service: str
    role: Literal["service", "gateway"] = "service"
    instance: str = ""
    ports: tuple[NamedPort, ...] = ()
    listeners: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    health: str = ""
    metrics: str = ""
    token_file: Path | None = None
    control_plane: str = ""
    advertise: str = ""
    bind: str = ""
    outbound: int = 0
    inbound: int = 0
    ready: int = 0
    otlp: int = 0
    command: tuple[str, ...] | None = None
    grace: float = 10.0


def workload(asked: JoinOptions, folder: Path) -> Workload:
    """The process as the agent knows it; raises InputError naming the option that is wrong."""
    try:
        return Workload(
            name=asked.instance,
            role=asked.role,
            service=asked.service,
            # The one that was given is read anew at each enrolment, so that it can be replaced in time.
            token_file=asked.token_file.absolute() if asked.token_file else folder / TOKEN_FILE,
            ports=tuple(_app_port(*one) for one in asked.ports),
            gateway_ports=dict(_parse_listener(one) for one in asked.listeners),
            labels=dict(_parse_label(one) for one in asked.labels),
            upstreams=dict(_parse_upstream(one) for one in asked.upstreams),
            command=asked.command,
            attached=asked.command is not None,
            health=asked.health or None,
            metrics=asked.metrics or None,
            outbound_port=asked.outbound,
            inbound_port=asked.inbound,
            ready_port=asked.ready,
            otlp_port=asked.otlp,
            stop_grace=asked.grace,
        )
    except ValidationError as error:
        found = {_validation_message(one) for one in error.errors()}
        raise InputError("\n".join(sorted(found))) from None


def parse_port(text: str, protocol: str) -> NamedPort:
    """A port as the command line writes it: `8000`, `grpc=50051`, `admin=9000`; raises InputError.

    `protocol` is what ports speak whose name is no protocol.
    """
    name, sign, number = text.rpartition("=")
    if not number.isdecimal() or not 0 < int(number) <= 65535 or (sign and not name):
        raise InputError(f"--port {text}: write it like 8000, or grpc=50051")
    name = name or protocol
    return name, name if name in ("http", "grpc", "tcp") else protocol, int(number)


def _app_port(name: str, protocol: str, number: int) -> dict[str, Any]:
    return {"name": name, "protocol": protocol, "number": number, "app_port": number}


def _parse_listener(text: str) -> tuple[str, int]:
    name, sign, number = text.partition("=")
    if not name or not sign or not number.isdecimal():
        raise InputError(f"--listener {text}: write it like http=8080")
    return name, int(number)


def _parse_label(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not re.fullmatch(r"\S+", key):
        raise InputError(f"--label {text}: write it like version=v2")
    return key, value


def _parse_upstream(text: str) -> tuple[str, int]:
    name, sign, number = text.partition("=")
    if not name or (sign and not number.isdecimal()):
        raise InputError(f"--upstream {text}: write it like db, or db=5432")
    return name, int(number or 0)


def _validation_message(found: Any) -> str:
    where, given = str(found["loc"][0]) if found["loc"] else "", found.get("input", "")
    if where in ("name", "service"):
        return f"{_OPTIONS[where]}: {given!r} is no name: give lower-case letters, digits and hyphens"
    return f"{_OPTIONS.get(where, where)}: {given!r}: {found['msg']}"
