"""Commands for sidecars: queued here until their agents fetch them, then until the agents send results.

An agent fetches by a long poll, so that a command travels immediately. Proxies are kept apart by identity:
the certificate alone decides for which proxy a caller fetches and reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter

from meshwright.control_plane.api.models.commands import (
    COMMANDS_LIMIT,
    CommandBatch,
    CommandResult,
    ProxyCommand,
)
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import (
    CommandTimeoutError,
    InputError,
    NotFoundError,
    PermissionDeniedError,
)

LONG_POLL_SECONDS = 15.0
"""The longest time that a fetch is held. Agents wait ten seconds longer."""

PROXY_TIMEOUT = 3.0
"""Seconds after its last fetch for which a proxy counts as connected: agents fetch again immediately."""

REPLY_TIMEOUT = 10.0
"""Seconds that an agent has to send a result: its Envoy may take six."""

MAX_PROXIES_PER_IDENTITY = 2000
"""Proxies of one identity that may fetch: as many as may report (agents.reports)."""

MAX_OPEN_COMMANDS = 500
"""Commands of all proxies without a result: a result can have some megabytes."""

COMMANDS = Counter("mesh_commands_total", "Commands for sidecars, by kind and outcome.", ["kind", "outcome"])

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Proxy:
    """A proxy that fetches. `last_seen`: when its last fetch ended; `open`: commands without a result."""

    last_seen: float
    queued: list[ProxyCommand] = field(default_factory=list)
    fetch: asyncio.Future[None] | None = None
    open: int = 0

    def wake(self) -> None:
        """End the fetch that is held."""
        if self.fetch is not None and not self.fetch.done():
            self.fetch.set_result(None)


@dataclass(slots=True)
class _OpenCommand:
    """A command without a result, and the identity that may send it."""

    command: ProxyCommand
    identity: Identity
    result: asyncio.Future[CommandResult]


class CommandQueue:
    """Commands for the proxies whose agents are connected to this control plane."""

    def __init__(self) -> None:
        self._proxies: dict[str, dict[Identity, _Proxy]] = {}
        self._open: dict[str, _OpenCommand] = {}

    # --- called by agents -----------------------------------------------------------------------------

    async def fetch(self, identity: Identity, node: str) -> CommandBatch:
        """Commands for `identity`'s proxy `node` as soon as there are any; an empty batch after a while.

        A later fetch ends an earlier one, whose connection is gone. Raises PermissionDeniedError if the
        identity fetches for too many proxies.
        """
        proxy = self._proxy(identity, node)
        proxy.wake()
        fetch: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        proxy.fetch = fetch
        try:
            if not proxy.queued:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(fetch, LONG_POLL_SECONDS)
            if proxy.fetch is not fetch:
                return CommandBatch()
            commands, proxy.queued = tuple(proxy.queued), []
            return CommandBatch(commands=commands)
        finally:
            proxy.last_seen = _now()
            if proxy.fetch is fetch:
                proxy.fetch = None

    def complete(self, identity: Identity, result: CommandResult) -> None:
        """Accept a result. Raises PermissionDeniedError unless the command was for `identity`, and
        NotFoundError after its timeout.
        """
        open_command = self._open.get(result.id)
        if open_command is None:
            raise NotFoundError(f"no command {result.id} is open: the result came too late")
        if open_command.identity != identity or open_command.command.node != result.node:
            raise PermissionDeniedError(f"command {result.id} was not for {identity.uri}")
        if not open_command.result.done():
            open_command.result.set_result(result)

    # --- called by the control plane ------------------------------------------------------------------

    def is_connected(self, node: str, service: str = "") -> bool:
        """Whether a proxy of this name, of `service` if given, fetches commands here."""
        return bool(self._connected(node, service))

    async def run(
        self,
        node: str,
        kind: str,
        argument: str = "",
        *,
        service: str = "",
        timeout_seconds: float = REPLY_TIMEOUT,
    ) -> str:
        """Run a command and return the text of its result. `service`: see `is_connected`.

        Raises NotFoundError if no such proxy is connected here, InputError for an invalid command, and
        CommandTimeoutError.
        """
        result = await self.send(node, kind, argument, service=service, timeout_seconds=timeout_seconds)
        return result_text(result)

    async def send(
        self,
        node: str,
        kind: str,
        argument: str = "",
        *,
        service: str = "",
        timeout_seconds: float = REPLY_TIMEOUT,
    ) -> CommandResult:
        """Like `run`, but returns the result as the agent sent it."""
        identity, proxy = self._find(node, service)
        if proxy.open >= COMMANDS_LIMIT or len(self._open) >= MAX_OPEN_COMMANDS:
            raise CommandTimeoutError(f"{node}: too many commands at once: try again")
        command = ProxyCommand(id=secrets.token_hex(8), node=node, kind=kind, argument=argument)
        log.info("command", node=node, identity=identity.uri, kind=kind, argument=command.logged)
        open_command = _OpenCommand(command, identity, asyncio.get_running_loop().create_future())
        self._open[command.id] = open_command
        proxy.open += 1
        proxy.queued.append(command)
        proxy.wake()
        outcome = "timeout"
        try:
            async with asyncio.timeout(timeout_seconds):
                result = await open_command.result
            outcome = result.reason or "succeeded"
            return result
        except TimeoutError:
            message = f"{node}: no response from its agent within {timeout_seconds:g} s: check that it runs"
            raise CommandTimeoutError(message) from None
        finally:
            COMMANDS.labels(kind, outcome).inc()
            proxy.open -= 1
            del self._open[command.id]
            if command in proxy.queued:
                proxy.queued.remove(command)

    def _connected(self, node: str, service: str) -> dict[Identity, _Proxy]:
        now = _now()
        return {
            identity: proxy
            for identity, proxy in self._proxies.get(node, {}).items()
            if _is_connected(proxy, now) and service in ("", identity.name)
        }

    def _find(self, node: str, service: str) -> tuple[Identity, _Proxy]:
        connected = self._connected(node, service)
        if not connected:
            raise NotFoundError(f"no such proxy: {node[:100]}: see `mesh proxies`")
        if len(connected) > 1:
            owners = " and ".join(sorted(identity.uri for identity in connected))
            raise InputError(f"{node}: several proxies have this name: of {owners}")
        return next(iter(connected.items()))

    def _proxy(self, identity: Identity, node: str) -> _Proxy:
        proxy = self._proxies.get(node, {}).get(identity)
        if proxy is not None:
            return proxy
        if self._count(identity) >= MAX_PROXIES_PER_IDENTITY:
            self._expire()
            if self._count(identity) >= MAX_PROXIES_PER_IDENTITY:
                message = f"{identity.uri} fetches for more than {MAX_PROXIES_PER_IDENTITY} proxies"
                raise PermissionDeniedError(message)
        proxy = _Proxy(_now())
        self._proxies.setdefault(node, {})[identity] = proxy
        return proxy

    def _count(self, identity: Identity) -> int:
        return sum(identity in proxies for proxies in self._proxies.values())

    def _expire(self) -> None:
        now = _now()
        for node, proxies in list(self._proxies.items()):
            for identity in [key for key, proxy in proxies.items() if not _is_connected(proxy, now)]:
                del proxies[identity]
            if not proxies:
                del self._proxies[node]


def _is_connected(proxy: _Proxy, now: float) -> bool:
    return proxy.fetch is not None or now - proxy.last_seen < PROXY_TIMEOUT


def _now() -> float:
    return asyncio.get_running_loop().time()


def result_text(result: CommandResult) -> str:
    """The text of a result; raises InputError, CommandTimeoutError."""
    if result.reason == "invalid":
        raise InputError(f"{result.node}: {result.error}")
    if result.reason or result.error:
        raise CommandTimeoutError(f"{result.node}: {result.error}")
    try:
        return result.decode_text()
    except ValueError as error:
        raise CommandTimeoutError(f"{result.node}: its agent's result cannot be read: {error}") from None
