"""Envoy's admin interface over its unix socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

TIMEOUT = aiohttp.ClientTimeout(2.0)
"""Seconds the admin interface may take: it answers from Envoy's main thread, within milliseconds."""

LONG_TIMEOUT = 6.0
"""Seconds for what may be megabytes: a dump of a thousand clusters takes a tenth of one."""

_ACTIVE_REQUESTS = re.compile(
    r"(?:cluster\.app_[^:]*\.upstream_rq_active|http\.(?!admin\.|ready\.)[^:]*downstream_rq_active)"
)


_TUNNELS = "cluster./connect.upstream_cx_active"
"""Tunnels of CONNECT: each is a request of the outbound listener for as long as a client keeps it open. The
calls inside are counted apart."""


class EnvoyAdminError(Exception):
    """The proxy does not answer, or not as expected."""


class EnvoyBadRequestError(EnvoyAdminError):
    """The proxy answers that it was asked wrongly; its own words say why."""


class EnvoyAdminClient:
    """One Envoy's admin interface; every method raises ProxyError when it does not answer."""

    def __init__(self, path: Path) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), timeout=TIMEOUT)

    async def close(self) -> None:
        """Let go of the socket."""
        await self._session.close()

    async def is_ready(self) -> bool:
        """Whether it has its first configuration and serves."""
        try:
            status, _ = await self._request("GET", "/ready")
        except EnvoyAdminError:
            return False
        return status == 200

    async def listener_ports(self) -> frozenset[int]:
        """The ports it listens on."""
        _, text = await self._request("GET", "/listeners?format=json")
        found = json.loads(text).get("listener_statuses", [])
        addresses = [item.get("local_address", {}).get("socket_address", {}) for item in found]
        return frozenset(int(address.get("port_value", 0)) for address in addresses)

    async def drain_listeners(self) -> None:
        """Ask callers to go elsewhere: finish what is under way, close connections as they fall idle."""
        await self._request("POST", "/drain_listeners?graceful&skip_exit")

    async def active_requests(self, include_outbound: bool = True) -> int:
        """Requests under way; `outbound` False leaves out those that the app itself makes."""
        _, text = await self._request("GET", "/stats?filter=(rq_active|connect.upstream_cx_active)$")
        lines = (line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)
        counts = {name: int(count) for name, count in lines}
        under_way = sum(
            count
            for name, count in counts.items()
            if _ACTIVE_REQUESTS.fullmatch(name) and (include_outbound or not name.startswith("http.out"))
        )
        return under_way - (counts.get(_TUNNELS, 0) if include_outbound else 0)

    async def wait_idle(self, limit: float, include_outbound: bool = True) -> bool:
        """Wait until nothing is under way, `limit` seconds at most; False when something still is.

        Seen quiet twice, a tenth of a second apart: a request may be on its way between two sockets.
        """
        loop = asyncio.get_running_loop()
        until, seen = loop.time() + limit, 0
        while seen < 2:
            seen = 0 if await self.active_requests(include_outbound) else seen + 1
            if loop.time() >= until:
                return seen > 0
            await asyncio.sleep(0.1)
        return True

    async def server_info(self) -> dict[str, Any]:
        """Version, uptime and more of this Envoy."""
        return _parse_object(await self._get("/server_info"))

    async def stats(self, pattern: str) -> str:
        """The statistics whose whole names match `pattern`, a line each; unused ones are left out."""
        return await self._get(f"/stats?usedonly&filter={quote(f'^({pattern})$', safe='')}")

    async def clusters(self) -> dict[str, Any]:
        """Every cluster with its hosts and how each of them is."""
        return _parse_object(await self._get("/clusters?format=json"))

    async def filtered_stats(self, pattern: str) -> str:
        """The statistics of which part of the name matches `pattern` (empty: all), a line each, but unused.

        Raises ProxyRefusedError for no regular expression.
        """
        return await self._get(f"/stats?usedonly&filter={quote(pattern, safe='')}", LONG_TIMEOUT)

    async def config_dump(self) -> str:
        """All of its configuration, endpoints too, as JSON."""
        return await self._get("/config_dump?include_eds", LONG_TIMEOUT)

    async def log_levels(self) -> str:
        """The level of each logger, a line each."""
        return await self._post("/logging")

    async def set_log_level(self, level: str) -> None:
        """Set all loggers; raises ProxyRefusedError for no level."""
        await self._post(f"/logging?level={quote(level, safe='')}")

    async def set_log_levels(self, levels: Mapping[str, str]) -> None:
        """Set the level of each of these loggers; raises ProxyRefusedError for no logger or level."""
        paths = ",".join(f"{name}:{level}" for name, level in levels.items())
        await self._post(f"/logging?paths={quote(paths, safe=':,')}")

    async def set_runtime(self, key: str, value: str) -> None:
        """Set a runtime key, or with an empty value no longer set it."""
        await self._post(f"/runtime_modify?{quote(key, safe='')}={quote(value, safe='')}")

    async def _get(self, path: str, timeout: float | None = None) -> str:  # noqa: ASYNC109
        return _checked_text(path, *await self._request("GET", path, timeout))

    async def _post(self, path: str) -> str:
        return _checked_text(path, *await self._request("POST", path))

    async def _request(self, method: str, path: str, timeout: float | None = None) -> tuple[int, str]:  # noqa: ASYNC109
        try:
            url = URL(f"http://envoy{path}", encoded=True)
            limit = aiohttp.ClientTimeout(timeout) if timeout else TIMEOUT
            async with self._session.request(method, url, timeout=limit) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or "timeout"
            raise EnvoyAdminError(f"the proxy's admin interface does not answer: {why}") from None


def _parse_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        raise EnvoyAdminError("the proxy's admin interface answers with something else than JSON") from None
    if not isinstance(found, dict):
        raise EnvoyAdminError("the proxy's admin interface answers with something else than an object")
    return found


def _checked_text(path: str, status: int, text: str) -> str:
    """The text of an answer that is well."""
    if 400 <= status < 500:
        raise EnvoyBadRequestError(text.strip().partition("\n")[0][:300])
    if status != 200:
        raise EnvoyAdminError(f"the proxy's admin interface answers {status} to {path.partition('?')[0]}")
    return text
