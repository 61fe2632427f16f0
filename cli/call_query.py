"""The options that describe a call, of commands that judge it without making it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from meshwright.control_plane.errors import InputError

DEFAULT_HOST = "the service; of a gateway its first listener's, else localhost"
Probe = Annotated[bool, typer.Option("--probe", help="Ask the sidecars of the called service too.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallQuery:
    """The call, as its options say."""

    method: Annotated[str, typer.Argument(metavar="METHOD", help="The HTTP method.")] = "GET"
    path: Annotated[str, typer.Argument(metavar="PATH", help="The path.")] = "/"
    caller: Annotated[
        str, typer.Option("--from", metavar="NAME", help="The calling service or gateway. [default: none]")
    ] = ""
    service: Annotated[str, typer.Option("--to", metavar="SERVICE", help="The called service.")] = ""
    gateway: Annotated[
        str, typer.Option("--gateway", metavar="NAME", help="The gateway that a client outside calls.")
    ] = ""
    port: Annotated[
        str,
        typer.Option("--port", metavar="NAME", help="The name of its port or listener. [default: the first]"),
    ] = ""
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help=f"The Host header. [default: {DEFAULT_HOST}]")
    ] = ""
    headers: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="NAME:VALUE", help="A header, repeatable.")
    ] = None
    claims: Annotated[
        list[str] | None,
        typer.Option("--claim", metavar="NAME=VALUE", help="A claim of a verified token, repeatable."),
    ] = None
    address: Annotated[str, typer.Option("--address", metavar="IP", help="The address of the client.")] = (
        "127.0.0.1"
    )

    def fields(self) -> dict[str, Any]:
        """The fields of an AccessQuery. Raises InputError for a header or claim without a value."""
        method, path = _request_line(self.method, self.path)
        return {
            "caller": self.caller,
            "service": self.service,
            "gateway": self.gateway,
            "address": self.address,
            "method": method,
            "path": path,
            "host": self.host,
            "port": self.port,
            "headers": [[part.strip() for part in pair] for pair in _pairs(self.headers, ":")],
            "claims": dict(_pairs(self.claims, "=")),
        }


def _request_line(method: str, path: str) -> tuple[str, str]:
    """Method and path, of which people leave the first out, too."""
    return ("GET", method) if method.startswith("/") and path == "/" else (method, path)


def _pairs(options: Iterable[str] | None, separator: str) -> Iterable[tuple[str, str]]:
    """Names and values; raises InputError."""
    for text in options or ():
        name, found_at, value = text.partition(separator)
        if not name or not found_at:
            raise InputError(f"{text!r}: write NAME{separator}VALUE")
        yield name, value
