"""Fetches the commands for one proxy by long polling and sends back their results."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import structlog

from meshwright.control_plane.api.models.commands import (
    COMMANDS_LIMIT,
    CommandResult,
    ProxyCommand,
    ProxyRef,
)
from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.control_plane_client import ControlPlaneClient
from meshwright.sidecar.errors import RejectedError, UnavailableError

EMPTY_POLL_DELAY = 1.0
"""Seconds to wait after a poll that returned at once without a command: another agent polls for the proxy."""


class CommandPoll:
    """Polls with the present `client` (None: not enrolled) and runs several commands at a time."""

    def __init__(
        self,
        proxy: ProxyRef,
        client: Callable[[], ControlPlaneClient | None],
        handle: Callable[[ProxyCommand], Awaitable[CommandResult]],
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._handle = handle
        self._log = structlog.get_logger(__name__).bind(workload=proxy.node)
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Poll until cancelled, which cancels the running commands, too."""
        try:
            await self._poll_forever()
        finally:
            running = list(self._running)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _poll_forever(self) -> None:
        backoff = Backoff(base=0.1, cap=1.0)
        while True:
            try:
                client = self._client()
                if client is None:
                    raise UnavailableError("not enrolled")
                started = time.monotonic()
                commands = (await client.fetch_commands(self._proxy)).commands
                backoff = backoff.worked()
                if not commands and time.monotonic() - started < EMPTY_POLL_DELAY:
                    await asyncio.sleep(EMPTY_POLL_DELAY)
            except (UnavailableError, RejectedError, ValueError) as error:
                self._log.debug("cannot fetch commands", reason=str(error))
                backoff = backoff.failed()
                await asyncio.sleep(backoff.delay(random.random()))  # noqa: S311  jitter, not secrecy
                continue
            for command in commands[: COMMANDS_LIMIT - len(self._running)]:
                task = asyncio.create_task(self._run_command(command))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _run_command(self, command: ProxyCommand) -> None:
        result = await self._handle(command)
        try:
            client = self._client()
            if client is not None:
                await client.send_result(result)
        except (UnavailableError, RejectedError) as error:
            self._log.warning("cannot send the result of a command", kind=command.kind, reason=str(error))
