"""The IP address at which other nodes reach this one.

The settings may name a host, as containers and cloud machines have names. Envoy resolves no names in
endpoints, so the agent resolves it, and again from time to time: a restarted container may have another
address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import structlog

from meshwright.control_plane.api.hosts import is_ip, reachable_ip
from meshwright.sidecar.errors import UnavailableError

RESOLVE_INTERVAL = 30.0
"""Seconds for which a resolved address is used before the name is resolved again."""

RESOLVE_TIMEOUT = 2.0
"""Seconds for one attempt: less than half of a lease, which is renewed only afterwards."""

Resolve = Callable[[str], Awaitable[list[str]]]
"""The IP addresses of a host name, the preferred one first. Raises OSError."""

log = structlog.get_logger(__name__)


async def resolve_host(host: str) -> list[str]:
    """The addresses by the system's resolver, IPv4 first: sidecars may listen on 0.0.0.0 only."""
    entries = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in entries}, key=lambda text: ":" in text)


class AdvertisedAddress:
    """The address of one agent's sidecars. `host`: an IP address, or a name that is resolved when needed."""

    def __init__(self, host: str, resolve: Resolve = resolve_host) -> None:
        self._host = host
        self._resolve = resolve
        self._resolved_at = 0.0
        self.last = host if is_ip(host) else ""
        """The last known address; empty before the first."""

    async def current(self) -> str:
        """The address now; the last known one while the name cannot be resolved.

        Raises UnavailableError if it was never resolved, or has no address that other nodes can connect to.
        """
        if is_ip(self._host):
            return self._host
        now = asyncio.get_running_loop().time()
        if not self.last or now - self._resolved_at >= RESOLVE_INTERVAL:
            self._resolved_at = now
            await self._refresh()
        return self.last

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT):
                addresses = await self._resolve(self._host)
            address = _first_reachable(self._host, addresses)
        except (OSError, TimeoutError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or f"no response in {RESOLVE_TIMEOUT:g} s"
            message = f"cannot resolve {self._host}, the advertised address: {reason}: give an IP address"
            if not self.last:
                raise UnavailableError(message) from None
            log.warning("the last known address is used", address=self.last, reason=message)
            return
        if self.last and address != self.last:
            log.info("the advertised address changed", host=self._host, before=self.last, after=address)
        self.last = address


def _first_reachable(host: str, addresses: list[str]) -> str:
    """The first address that other nodes can connect to; raises OSError if there is none."""
    for address in addresses:
        try:
            return reachable_ip(address)
        except ValueError:
            continue
    raise OSError(0, f"{host} has no address that other nodes can connect to")
