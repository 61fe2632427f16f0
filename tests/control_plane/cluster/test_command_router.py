"""A command reaches a sidecar through whichever control plane its agent is connected to."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.agents.command_queue import REPLY_TIMEOUT, CommandQueue
from meshwright.control_plane.api.models.commands import CommandResult, FailureReason
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.command_router import CommandRouter
from meshwright.control_plane.cluster.methods import FIND_PROXY, RUN_COMMAND
from meshwright.control_plane.errors import CommandTimeoutError, InputError, MeshError, NotFoundError
from tests.fakes.members import FakeMembers, connected_members

ORDERS = Identity("mesh.local", "service", "orders")
EVIL = Identity("mesh.local", "service", "evil")
OWNERS = {"orders-1": ("orders",), "shared-1": ("evil", "orders")}


class ControlPlane:
    """One control plane; `changes` is what was changed manually through it."""

    def __init__(self, members: FakeMembers) -> None:
        self.id = members.id
        self.members = members
        self.commands = CommandQueue()
        self.changes: list[tuple[str, str]] = []
        self.router = CommandRouter(
            self.commands,
            members,
            lambda node: OWNERS.get(node, ()),
            lambda node, change: self.changes.append((node, change)),
        )

    async def agent(
        self, identity: Identity, node: str, text: str, failure: FailureReason = ""
    ) -> asyncio.Task[None]:
        """An agent that is connected here and completes one batch of commands."""

        async def serve() -> None:
            batch = await self.commands.fetch(identity, node)
            for command in batch.commands:
                success = CommandResult.succeeded(command, f"{text} {command.kind} {command.argument}")
                failed = CommandResult.failed(command, text, failure) if failure else None
                self.commands.complete(identity, failed or success)

        task = asyncio.create_task(serve())
        await asyncio.sleep(0)
        return task


@pytest.fixture
async def planes() -> tuple[ControlPlane, ControlPlane, ControlPlane]:
    first, second, third = (ControlPlane(members) for members in connected_members(3))
    return first, second, third


Planes = tuple[ControlPlane, ControlPlane, ControlPlane]


async def test_run_reaches_the_control_plane_of_the_agent(planes: Planes) -> None:
    here, there, _ = planes
    for place in (here, there):
        agent = await place.agent(ORDERS, "orders-1", place.id)
        assert await here.router.run("orders-1", "stats", "rq") == f"{place.id} stats rq"
        await agent
        place.commands._proxies.clear()
    assert here.members.timeouts[-1] > REPLY_TIMEOUT


async def test_run_agent_at_a_peer_fails_error_is_the_same_here(planes: Planes) -> None:
    here, there, _ = planes
    failures: tuple[tuple[FailureReason, type[MeshError]], ...] = (
        ("invalid", InputError),
        ("failed", CommandTimeoutError),
    )
    for failure, error in failures:
        await there.agent(ORDERS, "orders-1", "missing )", failure)
        with pytest.raises(error, match=r"^orders-1: missing \)$"):
            await here.router.run("orders-1", "stats", "(")


async def test_run_agent_of_another_service_is_not_used(planes: Planes) -> None:
    here, there, _ = planes
    forged = await here.agent(EVIL, "orders-1", "forged")
    with pytest.raises(NotFoundError):
        await here.router.run("orders-1", "stats", "")
    await there.agent(ORDERS, "orders-1", "true")
    assert await here.router.run("orders-1", "stats", "") == "true stats "
    forged.cancel()


async def test_run_name_of_two_services_needs_the_service(planes: Planes) -> None:
    here, there, _ = planes
    agents = [await here.agent(EVIL, "shared-1", "evil"), await there.agent(ORDERS, "shared-1", "orders")]
    with pytest.raises(InputError, match="name its service too: evil/shared-1 or orders/shared-1"):
        await here.router.run("shared-1", "stats", "")
    for service in ("evil", "orders"):
        assert await here.router.run("shared-1", "stats", "", service) == f"{service} stats "
    await asyncio.gather(*agents)


async def test_run_name_at_several_control_planes_is_ambiguous(planes: Planes) -> None:
    here, *others = planes
    agents = [await plane.agent(EVIL, "twice", plane.id) for plane in others]
    with pytest.raises(InputError, match="several proxies have this name"):
        await here.router.run("twice", "stats", "")
    for agent in agents:
        agent.cancel()


async def test_run_peer_does_not_relay_error_says_why(planes: Planes) -> None:
    here, there, _ = planes
    with pytest.raises(NotFoundError, match="no such proxy: orders-1"):
        await here.router.run("orders-1", "stats", "")
    agent = await there.agent(ORDERS, "orders-1", "true")
    there.members.silent.add(RUN_COMMAND.name)
    with pytest.raises(CommandTimeoutError, match=r"^orders-1: connection refused$"):
        await here.router.run("orders-1", "stats", "")
    agent.cancel()


async def test_run_peer_sends_an_invalid_result_is_an_error(planes: Planes) -> None:
    here, there, _ = planes
    agent = await there.agent(ORDERS, "orders-1", "true")
    there.members.bodies[RUN_COMMAND.name] = pb.CommandResult(result_json=b"{}").SerializeToString()
    with pytest.raises(CommandTimeoutError, match="invalid result"):
        await here.router.run("orders-1", "stats", "")
    agent.cancel()


@pytest.mark.parametrize(
    "command", [pb.Command(), pb.Command(node="a/b"), pb.Command(node="a", kind="k" * 33)]
)
async def test_peer_sends_an_invalid_command_is_rejected(planes: Planes, command: pb.Command) -> None:
    for method in (FIND_PROXY, RUN_COMMAND):
        with pytest.raises(InputError):
            await planes[0].members.respond(method.name, command.SerializeToString())


async def test_run_log_level_change_is_reported_once(planes: Planes) -> None:
    here, there, _ = planes
    for argument in ("", "level=debug&seconds=30", "level=off&logger=http&seconds=5"):
        await there.agent(ORDERS, "orders-1", "done")
        await here.router.run("orders-1", "log-level", argument)
    assert here.changes == [
        ("orders-1", "log level set to debug for 30 s"),
        ("orders-1", "log level of http set to off for 5 s"),
    ]
    assert there.changes == []
    await there.agent(ORDERS, "orders-1", "no such logger", "invalid")
    with pytest.raises(InputError):
        await here.router.run("orders-1", "log-level", "level=debug")
    assert len(here.changes) == 2
