"""Client of Envoy's admin interface over its unix socket."""

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
"""Seconds for a response. Envoy's main thread responds within milliseconds."""

LONG_TIMEOUT = 6.0
"""Seconds for responses of several megabytes. A dump of a thousand clusters takes a tenth of a second."""

_ACTIVE_REQUESTS = re.compile(r"http\.(?!admin\.|ready\.|trial\.)[^:]*downstream_rq_active")
"""Requests of the app and its callers. Those on the trial socket are this Envoy's own checks, some of which
the agent holds for as long as nothing changes.
"""

_TUNNELS = "cluster./connect.upstream_cx_active"
"""CONNECT tunnels. Each counts as a request of the outbound listener for as long as the client keeps it open;
the requests inside are counted separately."""


def count_active(stats: str, include_outbound: bool = True) -> int:
    """The in-flight requests in Envoy's statistics; without `include_outbound` not those of the app."""
    lines = (line.rsplit(": ", 1) for line in stats.splitlines() if ": " in line)
    counts = {name: int(count) for name, count in lines}
    active = sum(
        count
        for name, count in counts.items()
        if _ACTIVE_REQUESTS.fullmatch(name) and (include_outbound or not name.startswith("http.out"))
    )
    return active - (counts.get(_TUNNELS, 0) if include_outbound else 0)


class EnvoyAdminError(Exception):
    """Envoy does not respond, or not as expected."""


class EnvoyBadRequestError(EnvoyAdminError):
    """Envoy rejects the request (4xx). The text is Envoy's."""


class EnvoyAdminClient:
    """One Envoy's admin interface. Every method raises EnvoyAdminError when Envoy does not respond."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session = self._new_session()

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(str(self._path))
        return aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)

    async def reconnect(self) -> None:
        """Talk to the Envoy that listens by now: open connections lead to the one before."""
        before, self._session = self._session, self._new_session()
        await before.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def is_ready(self) -> bool:
        """Whether Envoy has its first configuration and serves. False when it does not respond."""
        try:
            status, _ = await self._request("GET", "/ready")
        except EnvoyAdminError:
            return False
        return status == 200

    async def listener_ports(self) -> frozenset[int]:
        """The ports that Envoy listens on."""
        _, text = await self._request("GET", "/listeners?format=json")
        listeners = json.loads(text).get("listener_statuses", [])
        addresses = [listener.get("local_address", {}).get("socket_address", {}) for listener in listeners]
        return frozenset(int(address.get("port_value", 0)) for address in addresses)

    async def drain_listeners(self) -> None:
        """Start a graceful drain: in-flight requests finish, idle connections close."""
        await self._request("POST", "/drain_listeners?graceful&skip_exit")

    async def fail_readiness(self) -> None:
        """Respond 503 to `/ready` from now on, and ask clients to close their connections."""
        await self._request("POST", "/healthcheck/fail")

    async def close_listeners(self) -> None:
        """Accept no further connections; open ones go on."""
        await self._request("POST", "/drain_listeners")

    async def active_requests(self, include_outbound: bool = True) -> int:
        """The number of in-flight requests; without `include_outbound` not those that the app makes."""
        _, text = await self._request("GET", "/stats?filter=(rq_active|connect.upstream_cx_active)$")
        return count_active(text, include_outbound)

    async def wait_idle(self, limit: float, include_outbound: bool = True) -> bool:
        """Wait up to `limit` seconds for in-flight requests to finish; False when some remain.

        Idle means no active request twice in a row, 0.1 s apart: a request may be between two sockets.
        """
        loop = asyncio.get_running_loop()
        deadline, idle_checks = loop.time() + limit, 0
        while idle_checks < 2:
            idle_checks = 0 if await self.active_requests(include_outbound) else idle_checks + 1
            if loop.time() >= deadline:
                return idle_checks > 0
            await asyncio.sleep(0.1)
        return True

    async def server_info(self) -> dict[str, Any]:
        """Version, uptime and more of this Envoy."""
        return _parse_object(await self._get("/server_info"))

    async def stats(self, pattern: str) -> str:
        """The used statistics whose full name matches `pattern`, one per line."""
        return await self._get(f"/stats?usedonly&filter={quote(f'^({pattern})$', safe='')}")

    async def clusters(self) -> dict[str, Any]:
        """All clusters, with their hosts and the health of each host."""
        return _parse_object(await self.clusters_text())

    async def clusters_text(self) -> str:
        """All clusters with their hosts as JSON."""
        return await self._get("/clusters?format=json", LONG_TIMEOUT)

    async def filtered_stats(self, pattern: str) -> str:
        """The used statistics whose name contains a match of `pattern` (empty: all), one per line.

        Raises EnvoyBadRequestError for an invalid regular expression.
        """
        return await self._get(f"/stats?usedonly&filter={quote(pattern, safe='')}", LONG_TIMEOUT)

    async def config_dump(self) -> str:
        """The configuration as JSON, without endpoints: see endpoints_dump.py."""
        return await self._get("/config_dump", LONG_TIMEOUT)

    async def log_levels(self) -> str:
        """The level of each logger, one per line."""
        return await self._post("/logging")

    async def set_log_level(self, level: str) -> None:
        """Set the level of all loggers. Raises EnvoyBadRequestError for an unknown level."""
        await self._post(f"/logging?level={quote(level, safe='')}")

    async def set_log_levels(self, levels: Mapping[str, str]) -> None:
        """Set the levels of single loggers. Raises EnvoyBadRequestError for an unknown logger or level."""
        paths = ",".join(f"{name}:{level}" for name, level in levels.items())
        await self._post(f"/logging?paths={quote(paths, safe=':,')}")

    async def set_runtime(self, key: str, value: str) -> None:
        """Set a runtime key; an empty value removes it."""
        await self._post(f"/runtime_modify?{quote(key, safe='')}={quote(value, safe='')}")

    async def _get(self, path: str, timeout: float | None = None) -> str:  # noqa: ASYNC109
        return _checked_text(path, *await self._request("GET", path, timeout))

    async def _post(self, path: str) -> str:
        return _checked_text(path, *await self._request("POST", path))

    async def _request(self, method: str, path: str, timeout: float | None = None) -> tuple[int, str]:  # noqa: ASYNC109
        try:
            url = URL(f"http://envoy{path}", encoded=True)
            limit = aiohttp.ClientTimeout(timeout) if timeout else TIMEOUT
            async with self._session.request(method, url, timeout=limit) as response:
                return response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or "timeout"
            raise EnvoyAdminError(f"Envoy's admin interface does not respond: {reason}") from None


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        raise EnvoyAdminError("unexpected response of Envoy's admin interface: not JSON") from None
    if not isinstance(value, dict):
        raise EnvoyAdminError("unexpected response of Envoy's admin interface: not a JSON object")
    return value


def _checked_text(path: str, status: int, text: str) -> str:
    """The text of a successful response."""
    if 400 <= status < 500:
        raise EnvoyBadRequestError(text.strip().partition("\n")[0][:300])
    if status != 200:
        raise EnvoyAdminError(f"Envoy's admin interface returned {status} for {path.partition('?')[0]}")
    return text
