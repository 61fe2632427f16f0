"""Asks of sidecars, whichever control plane their agents are connected to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from control_plane.agents.asks.app import PATIENCE, Asks, text_of
from control_plane.api.asked import ARGUMENT_LIMIT, RAISED, Answer
from control_plane.api.types import Message, Name
from control_plane.errors import InputError, NotFoundError, UnansweredError
from control_plane.peers.client import PeerError

FINDS, RELAYS = "FindProxy", "AskProxy"
"""The methods that peers serve each other: who has a proxy, and asking it."""

ON_THE_WAY = 1.0
"""Seconds more than the agent's that a peer has for an answer."""


class Peers(Protocol):
    """The other control planes (peers.app.Peers)."""

    id: str

    def answers(self, method: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Serve a method to peers."""

    async def everyone(self, method: str, request: bytes = b"") -> list[bytes]:
        """The answers of all that give one soon."""

    async def ask(self, id: str, method: str, request: bytes = b"", *, within: float) -> bytes:
        """The answer of one; raises PeerError."""


class Wanted(Message):
    """An ask on its way to the control plane that has the proxy."""

    node: Name
    service: str = Field("", max_length=63)
    kind: str = Field("", max_length=32)
    argument: str = Field("", max_length=ARGUMENT_LIMIT)


class Asking:
    """`owner` names the service whose instance a node is, by the leases: nobody else may speak for it.

    `changed` is told of what was changed by hand: the proxy and in words what.
    """

    def __init__(
        self, asks: Asks, peers: Peers, owner: Callable[[str], str], changed: Callable[[str, str], None]
    ) -> None:
        self._asks = asks
        self._peers = peers
        self._owner = owner
        self._changed = changed
        peers.answers(FINDS, self._find)
        peers.answers(RELAYS, self._relay)

    async def ask(self, node: str, kind: str, argument: str) -> str:
        """The text that the proxy's agent answers (api.asked.Ask).

        Raises NotFoundError, InputError, UnansweredError.
        """
        wanted = Wanted(node=node, service=self._owner(node), kind=kind, argument=argument)
        if self._asks.has(node, wanted.service):
            text = await self._asks.ask(node, kind, argument, service=wanted.service)
        else:
            text = await self._elsewhere(wanted)
        if kind == "log-level" and argument:
            self._changed(node, _in_words(argument))
        return text

    async def _elsewhere(self, wanted: Wanted) -> str:
        request = wanted.model_dump_json().encode()
        found = await self._peers.everyone(FINDS, request)
        if not found:
            raise NotFoundError(f"no such proxy: {wanted.node}: see `mesh proxies`")
        if len(found) > 1:
            raise InputError(f"{wanted.node}: there is more than one of this name, at several control planes")
        try:
            told = await self._peers.ask(found[0].decode(), RELAYS, request, within=PATIENCE + ON_THE_WAY)
            return text_of(Answer.model_validate_json(told))
        except PeerError as error:
            words = str(error).removeprefix(f"{RELAYS}: ").removeprefix(f"{wanted.node}: ")
            raise UnansweredError(f"{wanted.node}: {words}") from None
        except ValidationError:
            raise UnansweredError(f"{wanted.node}: its control plane answers in another form") from None

    async def _find(self, request: bytes) -> bytes:
        wanted = _read(request)
        if not self._asks.has(wanted.node, wanted.service):
            raise NotFoundError(f"{wanted.node} is not here")
        return self._peers.id.encode()

    async def _relay(self, request: bytes) -> bytes:
        wanted = _read(request)
        answer = await self._asks.send(wanted.node, wanted.kind, wanted.argument, service=wanted.service)
        return answer.model_dump_json().encode()


def _in_words(argument: str) -> str:
    """What was done to a log level (api.asked.LogLevelRequest)."""
    given = dict(parse_qsl(argument))
    of = f"of {given['logger']} " if "logger" in given else ""
    return f"log level {of}set to {given.get('level', '?')} for {given.get('seconds', RAISED)} s"


def _read(request: bytes) -> Wanted:
    try:
        return Wanted.model_validate_json(request)
    except ValidationError:
        raise InputError("not an ask in JSON") from None
