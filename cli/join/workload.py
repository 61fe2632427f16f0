"""The Workload of a process that joins, from the text of its options."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import AppPort, Workload

TOKEN_FILE = Path("token")
"""File of a created join token, relative to the folder of the instance."""

_NAME_LIMIT = 63
"""Characters of a DNS label (RFC 1035, 2.3.4), which the name of an instance is."""

_PROTOCOLS = ("http", "grpc", "tcp")

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
"""The option behind each field of a Workload."""


def build_workload(
    *,
    service: str,
    instance: str = "",
    role: Literal["service", "gateway"] = "service",
    listeners: Iterable[str] = (),
    labels: Iterable[str] = (),
    upstreams: Iterable[str] = (),
    health: str = "",
    metrics: str = "",
    token_file: Path | None = None,
    **fields: Any,
) -> Workload:
    """Build the workload from the options of the command line; raises InputError with the wrong ones.

    Without an `instance`, a name is generated. Without a `token_file`, TOKEN_FILE stands for a token that is
    yet to be created. `fields` are passed to the Workload as they are.
    """
    try:
        return Workload(
            name=instance or generate_instance_name(service),
            role=role,
            service=service,
            # A given file is read again at each enrolment, so that it can be replaced.
            token_file=token_file.absolute() if token_file else TOKEN_FILE,
            gateway_ports=dict(_parse_listener(text) for text in listeners),
            labels=dict(_parse_label(text) for text in labels),
            upstreams=dict(_parse_upstream(text) for text in upstreams),
            health=health or None,
            metrics=metrics or None,
            **fields,
        )
    except ValidationError as error:
        problems = [problem for problem in error.errors() if instance or problem["loc"][:1] != ("name",)]
        raise InputError("\n".join(sorted({_validation_message(problem) for problem in problems}))) from None


def generate_instance_name(service: str) -> str:
    """A name that no other instance of the service has: `orders-run-3fa2c1`."""
    suffix = f"-run-{secrets.token_hex(3)}"
    return service[: _NAME_LIMIT - len(suffix)].rstrip("-") + suffix


def parse_port(text: str, protocol: str) -> AppPort:
    """Parse `8000`, `grpc=50051` or `admin=9000`; raises InputError.

    `protocol` applies to ports whose name is not a protocol.
    """
    name, separator, number = text.rpartition("=")
    if not number.isdecimal() or not 0 < int(number) <= 65535 or (separator and not name):
        raise InputError(f"--port {text}: expected PORT or NAME=PORT, for example 8000 or grpc=50051")
    name = name or protocol
    return app_port(name, name if name in _PROTOCOLS else protocol, int(number))


def app_port(name: str, protocol: str, number: int) -> AppPort:
    """A port of the app that callers know by the same number; raises InputError."""
    try:
        return AppPort.model_validate(
            {"name": name, "protocol": protocol, "number": number, "app_port": number}
        )
    except ValidationError:
        raise InputError(f"--port {name}={number}: {_INVALID_NAME.format(name=repr(name))}") from None


_INVALID_NAME = "{name} is not a valid name: use lower-case letters, digits and hyphens"


def _parse_listener(text: str) -> tuple[str, int]:
    name, separator, number = text.partition("=")
    if not name or not separator or not number.isdecimal():
        raise InputError(f"--listener {text}: expected NAME=PORT, for example http=8080")
    return name, int(number)


def _parse_label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not re.fullmatch(r"\S+", key):
        raise InputError(f"--label {text}: expected KEY=VALUE, for example version=v2")
    return key, value


def _parse_upstream(text: str) -> tuple[str, int]:
    name, separator, number = text.partition("=")
    if not name or (separator and not number.isdecimal()):
        raise InputError(f"--upstream {text}: expected NAME or NAME=PORT, for example db or db=5432")
    return name, int(number or 0)


def _validation_message(problem: Any) -> str:
    field, value = str(problem["loc"][0]) if problem["loc"] else "", problem.get("input", "")
    if field in ("name", "service"):
        return f"{_OPTIONS[field]}: {_INVALID_NAME.format(name=repr(value))}"
    return f"{_OPTIONS.get(field, field)}: {value!r}: {problem['msg']}"
