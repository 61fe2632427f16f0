"""The connection to Redis or Valkey: short timeouts, scripts called by their hash, one clear error.

Every failure becomes a StoreError that names the server and never its password. Callers that must know when
the store was unavailable or refused a write (leases must not expire then) add a callback to `on_lost`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import structlog
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError, NoScriptError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from meshwright.control_plane.errors import InputError, StoreError
from meshwright.control_plane.store.lua import Script

TIMEOUT = 2.0
"""Seconds for one call, including a free connection, connecting, authentication and the reply."""
CONNECTIONS = 32

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether the store works, since when (epoch seconds, local clock), and the reason if it is degraded."""

    status: Literal["ok", "degraded"]
    since: float
    reason: str = ""


def address(url: str) -> str:
    """`url` without user, password and query, for messages."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


class _Pool(aioredis.BlockingConnectionPool):
    """A pool that can close what is idle in it."""

    async def close_idle(self) -> None:
        """Close idle connections at once; each connects again when it is used."""
        for connection in tuple(self._available_connections):
            await connection.disconnect(nowait=True)


def _pool(url: str, password: str) -> _Pool:
    """A bounded pool that retries once when a pooled connection turns out to be dead.

    The client's own `socket_timeout` stays off: it uses asyncio.wait_for, which before Python 3.12 loses a
    cancellation that arrives together with the result. `Connection._call` sets the timeout.
    """
    options: dict[str, Any] = {
        "max_connections": CONNECTIONS,
        "timeout": TIMEOUT,
        "socket_timeout": None,
        "socket_connect_timeout": TIMEOUT,
        "decode_responses": True,
        "encoding_errors": "replace",  # a value that is not text is a damaged one, not a failed read
        "protocol": 2,
        "retry": Retry(ConstantBackoff(0.05), 1, (RedisConnectionError,)),
    }
    if password:
        options["password"] = password
    try:
        address(url)
        pool: _Pool = _Pool.from_url(url, **options)
        return pool
    except ValueError:
        raise InputError(
            "MESH_REDIS_URL: not the URL of a Redis or Valkey: "
            "write redis://:PASSWORD@HOST:PORT/0, rediss://... (TLS) or unix:///PATH"
        ) from None


class Connection:
    """A pool of connections to one server; `password` is used unless the URL contains one."""

    def __init__(self, url: str, password: str = "") -> None:
        """Does not connect yet. Raises InputError for an invalid URL."""
        self._pool = _pool(url, password)
        self._client: Any = aioredis.Redis(connection_pool=self._pool)
        self._scripts: dict[str, Any] = {}
        self.address = address(url)
        self.health = StoreHealth("ok", time.time())
        self.on_lost: list[Callable[[], None]] = []

    async def run_script(self, script: Script, *arguments: str | int) -> Any:
        """Run an atomic step; raises StoreError."""
        registered = self._scripts.get(script.name)
        if registered is None:
            registered = self._scripts[script.name] = self._client.register_script(script.text)
        return await self._call(lambda: registered(args=arguments))

    async def execute(self, *command: str | int) -> Any:
        """Run one command; raises StoreError."""
        return await self._call(lambda: self._client.execute_command(*command))

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def _call(self, send: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT):
                reply = await send()
        except AuthenticationError:
            raise self._mark_lost("it denied the login: check the password in MESH_REDIS_URL") from None
        except (RedisTimeoutError, TimeoutError):
            # A firewall that forgot one connection forgot the others too: each would cost a call its timeout.
            await self._pool.close_idle()
            raise self._mark_lost(f"no reply within {TIMEOUT:.0f} s: is it running?") from None
        except (RedisConnectionError, OSError) as error:
            raise self._mark_lost(f"it cannot be reached ({_one_line(error)}): is it running?") from None
        except NoScriptError:
            raise self._mark_lost("it lost a loaded script: is it restarting?") from None
        except RedisError as error:
            raise self._mark_lost(f"it rejected a command ({_one_line(error)}): check its log") from None
        self._mark_recovered()
        return reply

    def _mark_lost(self, reason: str) -> StoreError:
        if self.health.status == "ok":
            log.warning("store lost", address=self.address, reason=reason)
            self.health = StoreHealth("degraded", time.time(), reason)
        for callback in self.on_lost:
            callback()
        return StoreError(f"the store at {self.address}: {reason}")

    def _mark_recovered(self) -> None:
        if self.health.status == "degraded":
            outage = round(time.time() - self.health.since, 1)
            log.info("store recovered", address=self.address, outage=outage)
            self.health = StoreHealth("ok", time.time())


def _one_line(error: BaseException) -> str:
    """An error's text on one line, truncated."""
    return " ".join(str(error).split())[:200] or type(error).__name__
