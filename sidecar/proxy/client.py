"""Envoy's admin interface over its unix socket."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(2.0)
"""Seconds the admin interface may take: it answers from Envoy's main thread, within milliseconds."""

_SERVED = re.compile(
    r"(?:cluster\.app_[^:]*\.upstream_rq_active|http\.(?!admin\.|ready\.)[^:]*downstream_rq_active)"
)


class ProxyError(Exception):
    """The proxy does not answer, or not as expected."""


class ProxyAdmin:
    """One Envoy's admin interface; every method raises ProxyError when it does not answer."""

    def __init__(self, path: Path) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), timeout=TIMEOUT)

    async def close(self) -> None:
        """Let go of the socket."""
        await self._session.close()

    async def ready(self) -> bool:
        """Whether it has its first configuration and serves."""
        try:
            status, _ = await self._ask("GET", "/ready")
        except ProxyError:
            return False
        return status == 200

    async def listeners(self) -> frozenset[int]:
        """The ports it listens on."""
        _, text = await self._ask("GET", "/listeners?format=json")
        found = json.loads(text).get("listener_statuses", [])
        addresses = [item.get("local_address", {}).get("socket_address", {}) for item in found]
        return frozenset(int(address.get("port_value", 0)) for address in addresses)

    async def drain(self) -> None:
        """Ask callers to go elsewhere: finish what is under way, close connections as they fall idle."""
        await self._ask("POST", "/drain_listeners?graceful&skip_exit")

    async def active(self, outbound: bool = True) -> int:
        """Requests under way; `outbound` False leaves out those that the app itself makes."""
        _, text = await self._ask("GET", "/stats?filter=rq_active$")
        counts = (line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)
        return sum(
            int(count)
            for name, count in counts
            if _SERVED.fullmatch(name) and (outbound or not name.startswith("http.out"))
        )

    async def quiet(self, limit: float, outbound: bool = True) -> bool:
        """Wait until nothing is under way, `limit` seconds at most; False when something still is.

        Seen quiet twice, a tenth of a second apart: a request may be on its way between two sockets.
        """
        loop = asyncio.get_running_loop()
        until, seen = loop.time() + limit, 0
        while seen < 2:
            seen = 0 if await self.active(outbound) else seen + 1
            if loop.time() >= until:
                return seen > 0
            await asyncio.sleep(0.1)
        return True

    async def _ask(self, method: str, path: str) -> tuple[int, str]:
        try:
            async with self._session.request(method, f"http://envoy{path}") as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ProxyError(f"the proxy's admin interface does not answer: {error or 'timeout'}") from None
