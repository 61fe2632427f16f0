"""Asks reach the agent that fetches, answers count from whom was asked alone, and all of it is bounded."""

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


async def begun(
    asks: CommandQueue, identity: Identity = ORDERS, node: str = "orders-1"
) -> asyncio.Task[commands.CommandBatch]:
    """A fetch that is held."""
    fetch = asyncio.create_task(asks.fetch(identity, node))
    await asyncio.sleep(0)
    return fetch


async def one(fetching: Awaitable[commands.CommandBatch]) -> ProxyCommand:
    """The only ask of a fetch."""
    (ask,) = (await asyncio.wait_for(fetching, 5)).commands
    return ask


async def test_an_ask_reaches_a_fetch_that_is_held_and_the_answer_comes_back() -> None:
    asks = CommandQueue()
    fetch = await begun(asks)
    asking = asyncio.create_task(asks.run("orders-1", "stats", "rq"))
    ask = await one(fetch)
    assert (ask.node, ask.kind, ask.argument) == ("orders-1", "stats", "rq")
    asks.complete(ORDERS, CommandResult.succeeded(ask, "found"))
    assert await asking == "found"
    with pytest.raises(NotFoundError, match="too late"):
        asks.complete(ORDERS, CommandResult.succeeded(ask, "twice"))


async def test_an_ask_waits_for_an_agent_that_is_just_away() -> None:
    asks = CommandQueue()
    held = await begun(asks)
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    asking = asyncio.create_task(asks.run("orders-1", "logs"))
    await asyncio.sleep(0)
    ask = await one(asks.fetch(ORDERS, "orders-1"))
    asks.complete(ORDERS, CommandResult.succeeded(ask, "later"))
    assert await asking == "later"


async def test_nobody_is_asked_who_does_not_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = CommandQueue()
    with pytest.raises(NotFoundError, match="no such proxy: orders-1"):
        await asks.run("orders-1", "stats")
    monkeypatch.setattr(command_queue, "GONE", 0.0)
    held = await begun(asks)
    assert asks.is_connected("orders-1")
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    assert not asks.is_connected("orders-1")
    with pytest.raises(NotFoundError):
        await asks.run("orders-1", "stats")


async def test_an_agent_that_does_not_answer_is_given_up_and_its_answer_is_late() -> None:
    asks = CommandQueue()
    fetch = await begun(asks)
    with pytest.raises(CommandTimeoutError, match=r"orders-1: its agent does not answer within 0\.05 s"):
        await asks.run("orders-1", "stats", timeout_seconds=0.05)
    ask = await one(fetch)
    with pytest.raises(NotFoundError):
        asks.complete(ORDERS, CommandResult.succeeded(ask, "late"))


async def test_an_ask_that_was_given_up_is_not_fetched_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_queue, "HELD", 0.01)
    asks = CommandQueue()
    await asks.fetch(ORDERS, "orders-1")
    with pytest.raises(TimeoutError):
        await asks.run("orders-1", "log-level", "level=debug", timeout_seconds=0.01)
    assert (await asks.fetch(ORDERS, "orders-1")).commands == ()


@pytest.mark.parametrize("stranger", [EVIL, GATEWAY, Identity("other.local", "service", "orders")])
async def test_an_answer_by_a_stranger_is_refused_and_changes_nothing(stranger: Identity) -> None:
    asks = CommandQueue()
    fetch = await begun(asks)
    asking = asyncio.create_task(asks.run("orders-1", "stats"))
    ask = await one(fetch)
    with pytest.raises(PermissionDeniedError, match="was not asked"):
        asks.complete(stranger, CommandResult.succeeded(ask, "forged"))
    with pytest.raises(PermissionDeniedError):
        asks.complete(
            ORDERS, CommandResult.succeeded(ask.model_copy(update={"node": "orders-2"}), "of another")
        )
    asks.complete(ORDERS, CommandResult.succeeded(ask, "true"))
    assert await asking == "true"


async def test_a_name_that_two_identities_use_is_asked_only_of_its_owner() -> None:
    asks = CommandQueue()
    fetch, forged = await begun(asks), await begun(asks, EVIL)
    with pytest.raises(InputError, match="more than one of this name"):
        await asks.run("orders-1", "stats")
    asking = asyncio.create_task(asks.run("orders-1", "stats", service="orders"))
    asks.complete(ORDERS, CommandResult.succeeded(await one(fetch), "mine"))
    assert await asking == "mine"
    assert not forged.done()
    forged.cancel()


async def test_a_later_fetch_ends_an_earlier_one_and_gets_what_is_asked() -> None:
    asks = CommandQueue()
    first = await begun(asks)
    second = await begun(asks)
    assert (await asyncio.wait_for(first, 5)).commands == ()
    asking = asyncio.create_task(asks.run("orders-1", "stats"))
    asks.complete(ORDERS, CommandResult.succeeded(await one(second), "found"))
    assert await asking == "found"


async def test_what_goes_wrong_is_told_apart() -> None:
    asks = CommandQueue()
    for trouble, error in (("invalid", InputError), ("failed", CommandTimeoutError)):
        fetch = await begun(asks)
        asking = asyncio.create_task(asks.run("orders-1", "stats", "("))
        answer = CommandResult.failed(await one(fetch), "missing )")
        asks.complete(ORDERS, answer.model_copy(update={"reason": trouble}))
        with pytest.raises(error, match=r"orders-1: missing \)"):
            await asking


async def test_asks_and_proxies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_queue, "ASKS_LIMIT", 2)
    monkeypatch.setattr(command_queue, "PROXIES_LIMIT", 2)
    monkeypatch.setattr(command_queue, "HELD", 0.01)
    asks = CommandQueue()
    await asks.fetch(ORDERS, "orders-1")
    waiting = [asyncio.create_task(asks.run("orders-1", "stats", timeout_seconds=0.2)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(CommandTimeoutError, match="too much is asked"):
        await asks.run("orders-1", "stats")
    assert all(
        isinstance(one, CommandTimeoutError) for one in await asyncio.gather(*waiting, return_exceptions=True)
    )

    await asks.fetch(ORDERS, "orders-2")
    with pytest.raises(PermissionDeniedError, match="more than 2 proxies"):
        await asks.fetch(ORDERS, "orders-3")
    await asks.fetch(EVIL, "orders-3")
    monkeypatch.setattr(command_queue, "GONE", 0.0)
    await asks.fetch(ORDERS, "orders-3")


def test_a_long_text_travels_compressed_a_too_long_one_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = ProxyCommand(id="0" * 16, node="orders-1", kind="config")
    text = "clusters ä " * 50_000
    answer = CommandResult.succeeded(ask, text)
    assert len(answer.model_dump_json()) < len(text) / 10
    assert answer.decode_text() == text
    monkeypatch.setattr(commands, "TEXT_LIMIT", 1000)
    with pytest.raises(ValueError, match="longer than 1000"):
        answer.decode_text()
    refused = CommandResult.succeeded(ask, text)
    assert (refused.reason, refused.text, refused.compressed) == ("failed", "", "")
    assert "too long" in refused.error


@pytest.mark.parametrize(
    "packed",
    [
        "not base64 at all",
        base64.b64encode(b"not zlib").decode(),
        base64.b64encode(zlib.compress(b"cut off" * 1000)[:-9]).decode(),
        base64.b64encode(zlib.compress(b"\xff\xfe")).decode(),
        base64.b64encode(zlib.compress(b"0" * (4 * commands.TEXT_LIMIT + 1))).decode(),
    ],
    ids=["base64", "zlib", "cut", "utf-8", "bomb"],
)
async def test_an_answer_that_cannot_be_read_is_no_answer(packed: str) -> None:
    asks = CommandQueue()
    fetch = await begun(asks)
    asking = asyncio.create_task(asks.run("orders-1", "config"))
    ask = await one(fetch)
    asks.complete(ORDERS, CommandResult(id=ask.id, node=ask.node, compressed=packed))
    with pytest.raises(CommandTimeoutError, match="cannot be read"):
        await asking


def test_answers_are_bounded_as_they_come() -> None:
    with pytest.raises(ValidationError):
        CommandResult(id="0" * 16, node="orders-1", compressed="A" * (commands.COMPRESSED_LIMIT + 1))
    with pytest.raises(ValidationError):
        CommandResult(id="../../etc", node="orders-1")
