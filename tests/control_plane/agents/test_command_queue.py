"""Commands reach the agent that fetches, results count only from that agent, and all of it is bounded."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Awaitable

import pytest
from pydantic import ValidationError

from meshwright.control_plane.agents import command_queue
from meshwright.control_plane.agents.command_queue import CommandQueue
from meshwright.control_plane.api.models import commands
from meshwright.control_plane.api.models.commands import CommandResult, ProxyCommand
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import (
    CommandTimeoutError,
    InputError,
    NotFoundError,
    PermissionDeniedError,
)

ORDERS = Identity("mesh.local", "service", "orders")
EVIL = Identity("mesh.local", "service", "evil")
GATEWAY = Identity("mesh.local", "gateway", "orders")


async def held_fetch(
    queue: CommandQueue, identity: Identity = ORDERS, node: str = "orders-1"
) -> asyncio.Task[commands.CommandBatch]:
    """A fetch that waits for commands."""
    fetch = asyncio.create_task(queue.fetch(identity, node))
    await asyncio.sleep(0)
    return fetch


async def only_command(fetching: Awaitable[commands.CommandBatch]) -> ProxyCommand:
    """The only command of a batch."""
    (command,) = (await asyncio.wait_for(fetching, 5)).commands
    return command


async def test_run_fetch_is_held_command_reaches_it_and_result_returns() -> None:
    queue = CommandQueue()
    fetch = await held_fetch(queue)
    running = asyncio.create_task(queue.run("orders-1", "stats", "rq"))
    command = await only_command(fetch)
    assert (command.node, command.kind, command.argument) == ("orders-1", "stats", "rq")
    queue.complete(ORDERS, CommandResult.succeeded(command, "found"))
    assert await running == "found"
    with pytest.raises(NotFoundError, match="too late"):
        queue.complete(ORDERS, CommandResult.succeeded(command, "twice"))


async def test_run_agent_between_two_fetches_command_waits() -> None:
    queue = CommandQueue()
    fetch = await held_fetch(queue)
    fetch.cancel()
    await asyncio.gather(fetch, return_exceptions=True)
    running = asyncio.create_task(queue.run("orders-1", "logs"))
    await asyncio.sleep(0)
    command = await only_command(queue.fetch(ORDERS, "orders-1"))
    queue.complete(ORDERS, CommandResult.succeeded(command, "later"))
    assert await running == "later"


async def test_run_proxy_does_not_fetch_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = CommandQueue()
    with pytest.raises(NotFoundError, match="no such proxy: orders-1"):
        await queue.run("orders-1", "stats")
    monkeypatch.setattr(command_queue, "PROXY_TIMEOUT", 0.0)
    fetch = await held_fetch(queue)
    assert queue.is_connected("orders-1")
    fetch.cancel()
    await asyncio.gather(fetch, return_exceptions=True)
    assert not queue.is_connected("orders-1")
    with pytest.raises(NotFoundError):
        await queue.run("orders-1", "stats")


async def test_run_agent_does_not_respond_times_out_and_result_is_late() -> None:
    queue = CommandQueue()
    fetch = await held_fetch(queue)
    with pytest.raises(CommandTimeoutError, match=r"orders-1: no response from its agent within 0\.05 s"):
        await queue.run("orders-1", "stats", timeout_seconds=0.05)
    command = await only_command(fetch)
    with pytest.raises(NotFoundError):
        queue.complete(ORDERS, CommandResult.succeeded(command, "late"))


async def test_run_timed_out_command_is_no_longer_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_queue, "LONG_POLL_SECONDS", 0.01)
    queue = CommandQueue()
    await queue.fetch(ORDERS, "orders-1")
    with pytest.raises(TimeoutError):
        await queue.run("orders-1", "log-level", "level=debug", timeout_seconds=0.01)
    assert (await queue.fetch(ORDERS, "orders-1")).commands == ()


@pytest.mark.parametrize("other", [EVIL, GATEWAY, Identity("other.local", "service", "orders")])
async def test_complete_by_another_identity_is_denied_and_changes_nothing(other: Identity) -> None:
    queue = CommandQueue()
    fetch = await held_fetch(queue)
    running = asyncio.create_task(queue.run("orders-1", "stats"))
    command = await only_command(fetch)
    with pytest.raises(PermissionDeniedError, match="was not for"):
        queue.complete(other, CommandResult.succeeded(command, "forged"))
    with pytest.raises(PermissionDeniedError):
        queue.complete(
            ORDERS, CommandResult.succeeded(command.model_copy(update={"node": "orders-2"}), "of another")
        )
    queue.complete(ORDERS, CommandResult.succeeded(command, "true"))
    assert await running == "true"


async def test_run_name_of_two_identities_needs_the_service() -> None:
    queue = CommandQueue()
    fetch, forged = await held_fetch(queue), await held_fetch(queue, EVIL)
    with pytest.raises(InputError, match="several proxies have this name"):
        await queue.run("orders-1", "stats")
    running = asyncio.create_task(queue.run("orders-1", "stats", service="orders"))
    queue.complete(ORDERS, CommandResult.succeeded(await only_command(fetch), "mine"))
    assert await running == "mine"
    assert not forged.done()
    forged.cancel()


async def test_fetch_again_ends_the_earlier_fetch_and_gets_the_commands() -> None:
    queue = CommandQueue()
    first = await held_fetch(queue)
    second = await held_fetch(queue)
    assert (await asyncio.wait_for(first, 5)).commands == ()
    running = asyncio.create_task(queue.run("orders-1", "stats"))
    queue.complete(ORDERS, CommandResult.succeeded(await only_command(second), "found"))
    assert await running == "found"


async def test_run_failure_reason_decides_the_error() -> None:
    queue = CommandQueue()
    for reason, error in (("invalid", InputError), ("failed", CommandTimeoutError)):
        fetch = await held_fetch(queue)
        running = asyncio.create_task(queue.run("orders-1", "stats", "("))
        result = CommandResult.failed(await only_command(fetch), "missing )")
        queue.complete(ORDERS, result.model_copy(update={"reason": reason}))
        with pytest.raises(error, match=r"orders-1: missing \)"):
            await running


async def test_commands_and_proxies_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_queue, "COMMANDS_LIMIT", 2)
    monkeypatch.setattr(command_queue, "MAX_PROXIES_PER_IDENTITY", 2)
    monkeypatch.setattr(command_queue, "LONG_POLL_SECONDS", 0.01)
    queue = CommandQueue()
    await queue.fetch(ORDERS, "orders-1")
    waiting = [asyncio.create_task(queue.run("orders-1", "stats", timeout_seconds=0.2)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(CommandTimeoutError, match="too many commands"):
        await queue.run("orders-1", "stats")
    assert all(
        isinstance(result, CommandTimeoutError)
        for result in await asyncio.gather(*waiting, return_exceptions=True)
    )

    await queue.fetch(ORDERS, "orders-2")
    with pytest.raises(PermissionDeniedError, match="more than 2 proxies"):
        await queue.fetch(ORDERS, "orders-3")
    await queue.fetch(EVIL, "orders-3")
    monkeypatch.setattr(command_queue, "PROXY_TIMEOUT", 0.0)
    await queue.fetch(ORDERS, "orders-3")


def test_result_long_text_is_compressed_too_long_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ProxyCommand(id="0" * 16, node="orders-1", kind="config")
    text = "clusters ä " * 50_000
    result = CommandResult.succeeded(command, text)
    assert len(result.model_dump_json()) < len(text) / 10
    assert result.decode_text() == text
    monkeypatch.setattr(commands, "TEXT_LIMIT", 1000)
    with pytest.raises(ValueError, match="longer than 1000"):
        result.decode_text()
    refused = CommandResult.succeeded(command, text)
    assert (refused.reason, refused.text, refused.compressed) == ("failed", "", "")
    assert "too long" in refused.error


@pytest.mark.parametrize(
    "compressed",
    [
        "not base64 at all",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(zlib.compress(b"cut off" * 1000)[:-9]).decode(),
        base64.b64encode(zlib.compress(b"\xff\xfe")).decode(),
        base64.b64encode(zlib.compress(b"0" * (4 * commands.TEXT_LIMIT + 1))).decode(),
    ],
    ids=["base64", "zlib", "cut", "utf-8", "bomb"],
)
async def test_run_result_unreadable_is_an_error(compressed: str) -> None:
    queue = CommandQueue()
    fetch = await held_fetch(queue)
    running = asyncio.create_task(queue.run("orders-1", "config"))
    command = await only_command(fetch)
    queue.complete(ORDERS, CommandResult(id=command.id, node=command.node, compressed=compressed))
    with pytest.raises(CommandTimeoutError, match="cannot be read"):
        await running


def test_result_is_limited_on_arrival() -> None:
    with pytest.raises(ValidationError):
        CommandResult(id="0" * 16, node="orders-1", compressed="A" * (commands.COMPRESSED_LIMIT + 1))
    with pytest.raises(ValidationError):
        CommandResult(id="../../etc", node="orders-1")
