"""`python -m bench.direct_service SERVICE`: a service whose calls of others go straight to their ports.

`DIRECT` has the port of each by name, as JSON. The service is the demo's, unchanged: only what names resolve
to differs, as with a hosts file that had ports too.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys

import aiohttp
from aiohttp import abc


class DirectResolver(abc.AbstractResolver):
    """Resolves the names of services to loopback, with their ports."""

    def __init__(self, **_: object) -> None:
        self._ports: dict[str, int] = json.loads(os.environ["DIRECT"])

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002  the port of the URL
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[abc.ResolveResult]:
        """The one address of a service; raises OSError for another name."""
        if host not in self._ports:
            raise OSError(f"no service {host}")
        return [
            abc.ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=self._ports[host],
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is open."""


if __name__ == "__main__":
    aiohttp.connector.DefaultResolver = DirectResolver  # type: ignore[attr-defined,assignment]
    service = sys.argv.pop()
    runpy.run_module(f"meshwright.services.{service}", run_name="__main__", alter_sys=True)
