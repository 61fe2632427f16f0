"""Commands for sidecars, whichever control plane their agents are connected to."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from meshwright.control_plane.agents.command_queue import REPLY_TIMEOUT, CommandQueue, result_text
from meshwright.control_plane.api.models.base import ApiModel, Name
from meshwright.control_plane.api.models.commands import (
    ARGUMENT_LIMIT,
    LOG_LEVEL_DEFAULT_SECONDS,
    CommandResult,
)
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import FIND_PROXY, RUN_COMMAND
from meshwright.control_plane.cluster.peer_client import PeerClient, PeerError
from meshwright.control_plane.errors import CommandTimeoutError, InputError, NotFoundError

RELAY_MARGIN = 1.0
"""Seconds that a peer has in addition to the agent's."""


class RoutedCommand(ApiModel):
    """A command on its way to the control plane that the proxy's agent is connected to."""

    node: Name
    service: str = Field("", max_length=63)
    kind: str = Field("", max_length=32)
    argument: str = Field("", max_length=ARGUMENT_LIMIT)


class CommandRouter:
    """Runs commands on any proxy of the mesh.

    `owners` returns the services that have a proxy of a name: names are unique only within a service.
    `on_manual_change` is called with a proxy and a description of what a command changed.
    """

    def __init__(
        self,
        commands: CommandQueue,
        peers: PeerClient,
        owners: Callable[[str], tuple[str, ...]],
        on_manual_change: Callable[[str, str], None],
    ) -> None:
        self._commands = commands
        self._peers = peers
        self._owners = owners
        self._on_manual_change = on_manual_change
        peers.register_method(FIND_PROXY, self._serve_find)
        peers.register_method(RUN_COMMAND, self._serve_run)

    async def run(self, node: str, kind: str, argument: str, service: str = "") -> str:
        """The text of the result. `service` may be empty if only one has a proxy of that name.

        Raises NotFoundError, InputError, CommandTimeoutError.
        """
        service = service or self._only_owner(node)
        if self._commands.is_connected(node, service):
            text = await self._commands.run(node, kind, argument, service=service)
        else:
            text = await self._run_at_peer(
                pb.Command(node=node, service=service, kind=kind, argument=argument)
            )
        if kind == "log-level" and argument:
            self._on_manual_change(node, _describe_log_level(argument))
        if kind == "restart" and argument:
            self._on_manual_change(node, "its app is restarted")
        return text

    def _only_owner(self, node: str) -> str:
        owners = self._owners(node)
        if len(owners) > 1:
            names = " or ".join(f"{service}/{node}" for service in owners)
            raise InputError(f"several proxies are named {node}: name its service too: {names}")
        return owners[0] if owners else ""

    async def _run_at_peer(self, command: pb.Command) -> str:
        node = command.node
        locations = await self._peers.broadcast(FIND_PROXY, command)
        if not locations:
            raise NotFoundError(f"no such proxy: {node}: see `mesh proxies`")
        if len(locations) > 1:
            raise InputError(f"{node}: several proxies have this name, at different control planes")
        try:
            response = await self._peers.call(
                locations[0].member_id,
                RUN_COMMAND,
                command,
                timeout_seconds=REPLY_TIMEOUT + RELAY_MARGIN,
            )
            return result_text(CommandResult.model_validate_json(response.result_json))
        except PeerError as error:
            message = str(error).removeprefix(f"{RUN_COMMAND.name}: ").removeprefix(f"{node}: ")
            raise CommandTimeoutError(f"{node}: {message}") from None
        except ValidationError:
            raise CommandTimeoutError(f"{node}: its control plane sent an invalid result") from None

    async def _serve_find(self, request: pb.Command) -> pb.ProxyLocation:
        command = _validate(request)
        if not self._commands.is_connected(command.node, command.service):
            raise NotFoundError(f"{command.node} is not connected here")
        return pb.ProxyLocation(member_id=self._peers.id)

    async def _serve_run(self, request: pb.Command) -> pb.CommandResult:
        command = _validate(request)
        result = await self._commands.send(
            command.node, command.kind, command.argument, service=command.service
        )
        return pb.CommandResult(result_json=result.model_dump_json().encode())


def _describe_log_level(argument: str) -> str:
    """What a log-level command did (api.models.commands.LogLevelRequest)."""
    query = dict(parse_qsl(argument))
    logger = f"of {query['logger']} " if "logger" in query else ""
    level, seconds = query.get("level", "?"), query.get("seconds", LOG_LEVEL_DEFAULT_SECONDS)
    return f"log level {logger}set to {level} for {seconds} s"


def _validate(request: pb.Command) -> RoutedCommand:
    try:
        return RoutedCommand(
            node=request.node, service=request.service, kind=request.kind, argument=request.argument
        )
    except ValidationError:
        raise InputError("invalid command") from None
