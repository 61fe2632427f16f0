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

from control_plane.api.asked import ASKS_LIMIT, Answer, Ask, Pending
from control_plane.api.spiffe import Identity
from control_plane.errors import InputError, NotFoundError, RefusedError, UnansweredError

HELD = 15.0
"""Seconds for which a call that fetches is held at most; agents wait ten longer."""

GONE = 3.0
"""Seconds after its last call for which a proxy still counts as here: agents call again at once."""

PATIENCE = 10.0
"""Seconds that an agent may take for an answer: its Envoy may take six."""

PROXIES_LIMIT = 2000
"""Proxies of one identity that may fetch: as many as may report (agents.reports.NODES_LIMIT)."""

OPEN_LIMIT = 500
"""Asks of all proxies that wait at once: each answer may have some megabytes."""

ASKED = Counter("mesh_asks_total", "Asks of sidecars, by kind and outcome.", ["kind", "outcome"])

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Proxy:
    """One that fetches: asks it has not fetched, its newest call, and when the last one ended."""

    seen: float
    waiting: list[Ask] = field(default_factory=list)
    call: asyncio.Future[None] | None = None
    open: int = 0

    def wake(self) -> None:
        """End the call that is held."""
        if self.call is not None and not self.call.done():
            self.call.set_result(None)


@dataclass(slots=True)
class _Open:
    """An ask that is not answered yet, and whose answer counts."""

    ask: Ask
    identity: Identity
    answer: asyncio.Future[Answer]


class Asks:
    """What is asked of the proxies whose agents are connected here."""

    def __init__(self) -> None:
        self._proxies: dict[str, dict[Identity, _Proxy]] = {}
        self._open: dict[str, _Open] = {}

    # --- for agents -------------------------------------------------------------------------------

    async def fetch(self, identity: Identity, node: str) -> Pending:
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
                    await asyncio.wait_for(call, HELD)
            if proxy.call is not call:
                return Pending()
            asks, proxy.waiting = tuple(proxy.waiting), []
            return Pending(asks=asks)
        finally:
            proxy.seen = _now()
            if proxy.call is call:
                proxy.call = None

    def answer(self, identity: Identity, answer: Answer) -> None:
        """Take an answer; raises RefusedError unless `identity` was asked, NotFoundError when too late."""
        found = self._open.get(answer.id)
        if found is None:
            raise NotFoundError(f"nobody waits for an answer to {answer.id}: it came too late")
        if found.identity != identity or found.ask.node != answer.node:
            raise RefusedError(f"{identity.uri} was not asked {answer.id}")
        if not found.answer.done():
            found.answer.set_result(answer)

    # --- for the rest of the control plane --------------------------------------------------------

    def has(self, node: str, service: str = "") -> bool:
        """Whether such a proxy fetches here; `service` narrows whose it is."""
        return bool(self._here(node, service))

    async def ask(
        self,
        node: str,
        kind: str,
        argument: str = "",
        *,
        service: str = "",
        timeout: float = PATIENCE,  # noqa: ASYNC109  how long an answer is worth waiting for
    ) -> str:
        """The text that the proxy's agent answers within `timeout` seconds; `service` narrows whose it is.

        Raises NotFoundError when no such proxy fetches here, InputError for a wrong ask, UnansweredError.
        """
        return text_of(await self.send(node, kind, argument, service=service, timeout=timeout))

    async def send(
        self,
        node: str,
        kind: str,
        argument: str = "",
        *,
        service: str = "",
        timeout: float = PATIENCE,  # noqa: ASYNC109  how long an answer is worth waiting for
    ) -> Answer:
        """As `ask`, the agent's answer as it came."""
        identity, proxy = self._find(node, service)
        if proxy.open >= ASKS_LIMIT or len(self._open) >= OPEN_LIMIT:
            raise UnansweredError(f"{node}: too much is asked of it at once: try again")
        ask = Ask(id=secrets.token_hex(8), node=node, kind=kind, argument=argument)
        log.info("ask", node=node, identity=identity.uri, kind=kind, argument=argument)
        found = _Open(ask, identity, asyncio.get_running_loop().create_future())
        self._open[ask.id] = found
        proxy.open += 1
        proxy.waiting.append(ask)
        proxy.wake()
        outcome = "late"
        try:
            async with asyncio.timeout(timeout):
                answer = await found.answer
            outcome = answer.trouble or "answered"
            return answer
        except TimeoutError:
            words = f"{node}: its agent does not answer within {timeout:g} s: see whether it runs"
            raise UnansweredError(words) from None
        finally:
            ASKED.labels(kind, outcome).inc()
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
        if self._count(identity) >= PROXIES_LIMIT:
            self._forget()
            if self._count(identity) >= PROXIES_LIMIT:
                raise RefusedError(f"{identity.uri} speaks for more than {PROXIES_LIMIT} proxies")
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
    return proxy.call is not None or now - proxy.seen < GONE


def _now() -> float:
    return asyncio.get_running_loop().time()


def text_of(answer: Answer) -> str:
    """What an answer says; raises InputError, UnansweredError."""
    if answer.trouble == "invalid":
        raise InputError(f"{answer.node}: {answer.error}")
    if answer.trouble or answer.error:
        raise UnansweredError(f"{answer.node}: {answer.error}")
    try:
        return answer.read()
    except ValueError as error:
        raise UnansweredError(f"{answer.node}: its agent's answer cannot be read: {error}") from None
