"""The options that describe a call, of commands that judge it without making it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from meshwright.control_plane.errors import InputError

Method = Annotated[str, typer.Argument(metavar="METHOD", help="The HTTP method.")]
Path = Annotated[str, typer.Argument(metavar="PATH", help="The path.")]
Caller = Annotated[
    str, typer.Option("--from", metavar="NAME", help="The calling service or gateway. [default: none]")
]
Called = Annotated[str, typer.Option("--to", metavar="SERVICE", help="The called service.")]
Gateway = Annotated[
    str, typer.Option("--gateway", metavar="NAME", help="The gateway that a client outside calls.")
]
PortName = Annotated[
    str,
    typer.Option("--port", metavar="NAME", help="The name of its port or listener. [default: the first]"),
]
Host = Annotated[str, typer.Option("--host", metavar="HOST", help="The Host header. [default: the service]")]
Headers = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="A header, repeatable.")
]
Claims = Annotated[
    list[str] | None,
    typer.Option("--claim", metavar="NAME=VALUE", help="A claim of a verified token, repeatable."),
]
Address = Annotated[str, typer.Option("--address", metavar="IP", help="The address of the client.")]

Probe = Annotated[bool, typer.Option("--probe", help="Ask the sidecars of the called service too.")]


def request_line(method: str, path: str) -> tuple[str, str]:
    """Method and path, of which people leave the first out, too."""
    return ("GET", method) if method.startswith("/") and path == "/" else (method, path)


def headers_of(options: Iterable[str] | None) -> list[list[str]]:
    """Names and values of headers; raises InputError."""
    return [[part.strip() for part in _pair(option, ":")] for option in options or ()]


def claims_of(options: Iterable[str] | None) -> dict[str, Any]:
    """Claims by name; raises InputError."""
    return dict(_pair(option, "=") for option in options or ())


def _pair(text: str, separator: str) -> tuple[str, str]:
    name, found_at, value = text.partition(separator)
    if not name or not found_at:
        raise InputError(f"{text!r}: write NAME{separator}VALUE")
    return name, value
