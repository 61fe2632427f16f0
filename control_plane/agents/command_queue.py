"""Asks of sidecars: kept here until their agents fetch them, and held to until these answer.

An agent fetches by a call that is held until there is something, so that an ask travels at once. Proxies are
kept apart by identity: who fetches and answers as a proxy is known from the certificate alone.
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
"""Seconds for which a call that fetches is held at most; agents wait ten longer."""

PROXY_TIMEOUT = 3.0
"""Seconds after its last call for which a proxy still counts as here: agents call again at once."""

REPLY_TIMEOUT = 10.0
"""Seconds that an agent may take for an answer: its Envoy may take six."""

MAX_PROXIES_PER_IDENTITY = 2000
"""Proxies of one identity that may fetch: as many as may report (agents.reports.NODES_LIMIT)."""

MAX_OPEN_COMMANDS = 500
"""Asks of all proxies that wait at once: each answer may have some megabytes."""

COMMANDS = Counter("mesh_asks_total", "Asks of sidecars, by kind and outcome.", ["kind", "outcome"])

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Proxy:
    """One that fetches: asks it has not fetched, its newest call, and when the last one ended."""

    seen: float
    waiting: list[ProxyCommand] = field(default_factory=list)
    call: asyncio.Future[None] | None = None
    open: int = 0

    def wake(self) -> None:
        """End the call that is held."""
        if self.call is not None and not self.call.done():
            self.call.set_result(None)


@dataclass(slots=True)
class _OpenCommand:
    """An ask that is not answered yet, and whose answer counts."""

    command: ProxyCommand
    identity: Identity
    result: asyncio.Future[CommandResult]


class CommandQueue:
    """What is asked of the proxies whose agents are connected here."""

    def __init__(self) -> None:
        self._proxies: dict[str, dict[Identity, _Proxy]] = {}
        self._open: dict[str, _OpenCommand] = {}

    # --- for agents -------------------------------------------------------------------------------

    async def fetch(self, identity: Identity, node: str) -> CommandBatch:
        """What is asked of `identity`'s proxy `node`, as soon as there is something; often nothing.

        A later call ends an earlier one: that was of a connection which is no more. Raises RefusedError when
        an identity names more and more proxies.
        """
        proxy = self._admit(identity, node)
        proxy.wake()
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        proxy.call = call
        try:
            if not proxy.waiting:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(call, LONG_POLL_SECONDS)
            if proxy.call is not call:
                return CommandBatch()
            asks, proxy.waiting = tuple(proxy.waiting), []
            return CommandBatch(commands=asks)
        finally:
            proxy.seen = _now()
            if proxy.call is call:
                proxy.call = None

    def complete(self, identity: Identity, answer: CommandResult) -> None:
        """Take an answer; raises RefusedError unless `identity` was asked, NotFoundError when too late."""
        found = self._open.get(answer.id)
        if found is None:
            raise NotFoundError(f"nobody waits for an answer to {answer.id}: it came too late")
        if found.identity != identity or found.command.node != answer.node:
            raise PermissionDeniedError(f"{identity.uri} was not asked {answer.id}")
        if not found.result.done():
            found.result.set_result(answer)

    # --- for the rest of the control plane --------------------------------------------------------

    def is_connected(self, node: str, service: str = "") -> bool:
        """Whether such a proxy fetches here; `service` narrows whose it is."""
        return bool(self._here(node, service))

    async def run(
        self,
        node: str,
        kind: str,
        argument: str = "",
        *,
        service: str = "",
        timeout_seconds: float = REPLY_TIMEOUT,  # noqa: ASYNC109  how long an answer is worth waiting for
    ) -> str:
        """The text that the proxy's agent answers within `timeout` seconds; `service` narrows whose it is.

        Raises NotFoundError when no such proxy fetches here, InputError for a wrong ask, UnansweredError.
        """
        return result_text(
            await self.send(node, kind, argument, service=service, timeout_seconds=timeout_seconds)
        )

    async def send(
        self,
        node: str,
        kind: str,
        argument: str = "",
        *,
        service: str = "",
        timeout_seconds: float = REPLY_TIMEOUT,  # noqa: ASYNC109  how long an answer is worth waiting for
    ) -> CommandResult:
        """As `ask`, the agent's answer as it came."""
        identity, proxy = self._find(node, service)
        if proxy.open >= COMMANDS_LIMIT or len(self._open) >= MAX_OPEN_COMMANDS:
            raise CommandTimeoutError(f"{node}: too much is asked of it at once: try again")
        ask = ProxyCommand(id=secrets.token_hex(8), node=node, kind=kind, argument=argument)
        log.info("ask", node=node, identity=identity.uri, kind=kind, argument=argument)
        found = _OpenCommand(ask, identity, asyncio.get_running_loop().create_future())
        self._open[ask.id] = found
        proxy.open += 1
        proxy.waiting.append(ask)
        proxy.wake()
        outcome = "late"
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await found.result
            outcome = answer.reason or "answered"
            return answer
        except TimeoutError:
            words = f"{node}: its agent does not answer within {timeout_seconds:g} s: see whether it runs"
            raise CommandTimeoutError(words) from None
        finally:
            COMMANDS.labels(kind, outcome).inc()
            proxy.open -= 1
            del self._open[ask.id]
            if ask in proxy.waiting:
                proxy.waiting.remove(ask)

    def _here(self, node: str, service: str) -> dict[Identity, _Proxy]:
        now = _now()
        return {
            identity: proxy
            for identity, proxy in self._proxies.get(node, {}).items()
            if _is_here(proxy, now) and service in ("", identity.name)
        }

    def _find(self, node: str, service: str) -> tuple[Identity, _Proxy]:
        found = self._here(node, service)
        if not found:
            raise NotFoundError(f"no such proxy: {node[:100]}: see `mesh proxies`")
        if len(found) > 1:
            whose = " and ".join(sorted(identity.uri for identity in found))
            raise InputError(f"{node}: there is more than one of this name: of {whose}")
        return next(iter(found.items()))

    def _admit(self, identity: Identity, node: str) -> _Proxy:
        known = self._proxies.get(node, {}).get(identity)
        if known is not None:
            return known
        if self._count(identity) >= MAX_PROXIES_PER_IDENTITY:
            self._forget()
            if self._count(identity) >= MAX_PROXIES_PER_IDENTITY:
                raise PermissionDeniedError(
                    f"{identity.uri} speaks for more than {MAX_PROXIES_PER_IDENTITY} proxies"
                )
        made = _Proxy(_now())
        self._proxies.setdefault(node, {})[identity] = made
        return made

    def _count(self, identity: Identity) -> int:
        return sum(identity in proxies for proxies in self._proxies.values())

    def _forget(self) -> None:
        now = _now()
        for node, proxies in list(self._proxies.items()):
            for identity in [one for one, proxy in proxies.items() if not _is_here(proxy, now)]:
                del proxies[identity]
            if not proxies:
                del self._proxies[node]


def _is_here(proxy: _Proxy, now: float) -> bool:
    return proxy.call is not None or now - proxy.seen < PROXY_TIMEOUT


def _now() -> float:
    return asyncio.get_running_loop().time()


def result_text(answer: CommandResult) -> str:
    """What an answer says; raises InputError, UnansweredError."""
    if answer.reason == "invalid":
        raise InputError(f"{answer.node}: {answer.error}")
    if answer.reason or answer.error:
        raise CommandTimeoutError(f"{answer.node}: {answer.error}")
    try:
        return answer.decode_text()
    except ValueError as error:
        raise CommandTimeoutError(f"{answer.node}: its agent's answer cannot be read: {error}") from None
