"""A sidecar is asked through whichever control plane its agent is connected to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from meshwright.control_plane.agents.command_queue import CommandQueue
from meshwright.control_plane.agents.command_router import RELAY_METHOD, CommandRouter
from meshwright.control_plane.api.models.commands import CommandResult, FailureReason
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster.connection import PeerError
from meshwright.control_plane.errors import CommandTimeoutError, InputError, MeshError, NotFoundError

ORDERS = Identity("mesh.local", "service", "orders")
EVIL = Identity("mesh.local", "service", "evil")


@dataclass
class Plane:
    """One control plane: it reaches the others of `all`; `silent`: it answers nobody."""

    id: str
    all: dict[str, Plane]
    asks: CommandQueue = field(default_factory=CommandQueue)
    changed: list[tuple[str, str]] = field(default_factory=list)
    methods: dict[str, Callable[[bytes], Awaitable[bytes]]] = field(default_factory=dict)
    silent: str = ""

    def __post_init__(self) -> None:
        self.all[self.id] = self
        owner = {"orders-1": "orders"}
        self.asking = CommandRouter(
            self.asks, self, lambda node: owner.get(node, ""), lambda *what: self.changed.append(what)
        )

    def register_method(self, method: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        self.methods[method] = answer

    async def broadcast(self, method: str, request: bytes = b"") -> list[bytes]:
        found = []
        for one in self.all.values():
            if one is not self:
                try:
                    found.append(await one.methods[method](request))
                except MeshError:
                    continue
        return found

    async def call(self, id: str, method: str, request: bytes = b"", *, timeout_seconds: float) -> bytes:
        assert timeout_seconds > 10
        if self.all[id].silent == method:
            raise PeerError("unavailable", f"{method}: connection refused")
        try:
            return await self.all[id].methods[method](request)
        except MeshError as error:
            raise PeerError("unavailable", f"{method}: {error}") from None

    async def agent(
        self, identity: Identity, node: str, text: str, trouble: FailureReason = ""
    ) -> asyncio.Task[None]:
        """An agent that answers one ask."""

        async def live() -> None:
            pending = await self.asks.fetch(identity, node)
            for ask in pending.commands:
                whole = CommandResult.succeeded(ask, f"{text} {ask.kind} {ask.argument}")
                self.asks.complete(identity, CommandResult.failed(ask, text, trouble) if trouble else whole)

        task = asyncio.create_task(live())
        await asyncio.sleep(0)
        return task


@pytest.fixture
async def planes() -> tuple[Plane, Plane, Plane]:
    every: dict[str, Plane] = {}
    return Plane("a", every), Plane("b", every), Plane("c", every)


async def test_a_proxy_is_asked_where_it_is(planes: tuple[Plane, Plane, Plane]) -> None:
    here, there, _ = planes
    for place in (here, there):
        agent = await place.agent(ORDERS, "orders-1", place.id)
        assert await here.asking.run("orders-1", "stats", "rq") == f"{place.id} stats rq"
        await agent
        place.asks._proxies.clear()


async def test_what_an_agent_says_elsewhere_is_said_here(planes: tuple[Plane, Plane, Plane]) -> None:
    here, there, _ = planes
    troubles: tuple[tuple[FailureReason, type[MeshError]], ...] = (
        ("invalid", InputError),
        ("failed", CommandTimeoutError),
    )
    for trouble, kind in troubles:
        await there.agent(ORDERS, "orders-1", "missing )", trouble)
        with pytest.raises(kind, match=r"^orders-1: missing \)$"):
            await here.asking.run("orders-1", "stats", "(")


async def test_nobody_else_speaks_for_an_instance(planes: tuple[Plane, Plane, Plane]) -> None:
    here, there, _ = planes
    forged = await here.agent(EVIL, "orders-1", "forged")
    with pytest.raises(NotFoundError):
        await here.asking.run("orders-1", "stats", "")
    await there.agent(ORDERS, "orders-1", "true")
    assert await here.asking.run("orders-1", "stats", "") == "true stats "
    forged.cancel()


async def test_a_name_at_several_control_planes_is_asked_of_none(planes: tuple[Plane, Plane, Plane]) -> None:
    here, *others = planes
    agents = [await one.agent(EVIL, "twice", one.id) for one in others]
    with pytest.raises(InputError, match="more than one of this name"):
        await here.asking.run("twice", "stats", "")
    for agent in agents:
        agent.cancel()


async def test_a_control_plane_that_does_not_pass_on_is_told_of(planes: tuple[Plane, Plane, Plane]) -> None:
    here, there, _ = planes
    with pytest.raises(NotFoundError, match="no such proxy: orders-1"):
        await here.asking.run("orders-1", "stats", "")
    agent = await there.agent(ORDERS, "orders-1", "true")
    there.silent = RELAY_METHOD
    with pytest.raises(CommandTimeoutError, match=r"^orders-1: connection refused$"):
        await here.asking.run("orders-1", "stats", "")
    agent.cancel()


async def test_a_log_level_that_was_set_is_told_once(planes: tuple[Plane, Plane, Plane]) -> None:
    here, there, _ = planes
    for argument in ("", "level=debug&seconds=30", "level=off&logger=http&seconds=5"):
        await there.agent(ORDERS, "orders-1", "done")
        await here.asking.run("orders-1", "log-level", argument)
    assert here.changed == [
        ("orders-1", "log level set to debug for 30 s"),
        ("orders-1", "log level of http set to off for 5 s"),
    ]
    assert there.changed == []
    await there.agent(ORDERS, "orders-1", "no such logger", "invalid")
    with pytest.raises(InputError):
        await here.asking.run("orders-1", "log-level", "level=debug")
    assert len(here.changed) == 2
