"""Asks of sidecars, whichever control plane their agents are connected to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from meshwright.control_plane.agents.command_queue import REPLY_TIMEOUT, CommandQueue, result_text
from meshwright.control_plane.api.models.base import ApiModel, Name
from meshwright.control_plane.api.models.commands import (
    ARGUMENT_LIMIT,
    LOG_LEVEL_DEFAULT_SECONDS,
    CommandResult,
)
from meshwright.control_plane.cluster.connection import PeerError
from meshwright.control_plane.errors import CommandTimeoutError, InputError, NotFoundError

FIND_METHOD, RELAY_METHOD = "FindProxy", "AskProxy"
"""The methods that peers serve each other: who has a proxy, and asking it."""

RELAY_MARGIN = 1.0
"""Seconds more than the agent's that a peer has for an answer."""


class PeerClient(Protocol):
    """The other control planes (peers.app.Peers)."""

    id: str

    def register_method(self, method: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Serve a method to peers."""

    async def broadcast(self, method: str, request: bytes = b"") -> list[bytes]:
        """The answers of all that give one soon."""

    async def call(self, id: str, method: str, request: bytes = b"", *, timeout_seconds: float) -> bytes:
        """The answer of one; raises PeerError."""


class RoutedCommand(ApiModel):
    """An ask on its way to the control plane that has the proxy."""

    node: Name
    service: str = Field("", max_length=63)
    kind: str = Field("", max_length=32)
    argument: str = Field("", max_length=ARGUMENT_LIMIT)


class CommandRouter:
    """`owner` names the service whose instance a node is, by the leases: nobody else may speak for it.

    `changed` is told of what was changed by hand: the proxy and in words what.
    """

    def __init__(
        self,
        asks: CommandQueue,
        peers: PeerClient,
        owner: Callable[[str], str],
        changed: Callable[[str, str], None],
    ) -> None:
        self._asks = asks
        self._peers = peers
        self._owner = owner
        self._changed = changed
        peers.register_method(FIND_METHOD, self._find)
        peers.register_method(RELAY_METHOD, self._relay)

    async def run(self, node: str, kind: str, argument: str) -> str:
        """The text that the proxy's agent answers (api.asked.Ask).

        Raises NotFoundError, InputError, UnansweredError.
        """
        wanted = RoutedCommand(node=node, service=self._owner(node), kind=kind, argument=argument)
        if self._asks.is_connected(node, wanted.service):
            text = await self._asks.run(node, kind, argument, service=wanted.service)
        else:
            text = await self._elsewhere(wanted)
        if kind == "log-level" and argument:
            self._changed(node, _in_words(argument))
        return text

    async def _elsewhere(self, wanted: RoutedCommand) -> str:
        request = wanted.model_dump_json().encode()
        found = await self._peers.broadcast(FIND_METHOD, request)
        if not found:
            raise NotFoundError(f"no such proxy: {wanted.node}: see `mesh proxies`")
        if len(found) > 1:
            raise InputError(f"{wanted.node}: there is more than one of this name, at several control planes")
        try:
            told = await self._peers.call(
                found[0].decode(), RELAY_METHOD, request, timeout_seconds=REPLY_TIMEOUT + RELAY_MARGIN
            )
            return result_text(CommandResult.model_validate_json(told))
        except PeerError as error:
            words = str(error).removeprefix(f"{RELAY_METHOD}: ").removeprefix(f"{wanted.node}: ")
            raise CommandTimeoutError(f"{wanted.node}: {words}") from None
        except ValidationError:
            raise CommandTimeoutError(f"{wanted.node}: its control plane answers in another form") from None

    async def _find(self, request: bytes) -> bytes:
        wanted = _read(request)
        if not self._asks.is_connected(wanted.node, wanted.service):
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
    return f"log level {of}set to {given.get('level', '?')} for {given.get('seconds', LOG_LEVEL_DEFAULT_SECONDS)} s"


def _read(request: bytes) -> RoutedCommand:
    try:
        return RoutedCommand.model_validate_json(request)
    except ValidationError:
        raise InputError("not an ask in JSON") from None
