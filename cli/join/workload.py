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


def parse_port(text: str, protocol: str, *, lowest: int = 1) -> AppPort:
    """Parse `8000`, `grpc=50051` or `admin=9000`; raises InputError. Callers know the port by its number.

    `protocol` applies to ports whose name is not a protocol. `lowest` 0 allows 0, for a free port.
    """
    name, separator, number = text.rpartition("=")
    if not number.isdecimal() or not lowest <= int(number) <= 65535 or (separator and not name):
        raise InputError(f"--port {text}: expected PORT or NAME=PORT, for example 8000 or grpc=50051")
    name = name or protocol
    protocol = name if name in _PROTOCOLS else protocol
    try:
        return AppPort.model_validate(
            {"name": name, "protocol": protocol, "number": int(number), "app_port": int(number)}
        )
    except ValidationError:
        raise InputError(f"--port {name}={number}: {_INVALID_NAME.format(value=name)}") from None


_INVALID_NAME = "{value!r} is not a valid name: use lower-case letters, digits and hyphens"

_INVALID_PATH = "{value!r} is not a valid path: start it with / and leave out spaces"

_REASONS = {
    "name": _INVALID_NAME,
    "service": _INVALID_NAME,
    "upstreams": _INVALID_NAME,
    "labels": "{value!r} is not valid: use up to 63 letters, digits, hyphens, dots and underscores",
    "health": _INVALID_PATH,
    "metrics": _INVALID_PATH,
}
"""What is wrong with the value of a field; without an entry, pydantic's message."""


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
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not field:
        return message
    reason = _REASONS[field].format(value=value) if field in _REASONS else f"{value!r}: {message}"
    return f"{_OPTIONS.get(field, field)}: {reason}"
