"""The stream of a tap: who is asked how often, and how many requests a listener is shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from control_plane.admin.mesh import Mesh
from control_plane.admin.tap import server
from control_plane.admin.tap.server import RATE, TapParams, stream
from control_plane.api.types import ProxyDetail
from control_plane.errors import NotFoundError, UnansweredError
from control_plane.peers.requests import SharedRequests
from control_plane.telemetry.requests import Requests
from tests.fakes.mesh import FakeTokens
from tests.fakes.peers import Reached
from tests.fakes.store import FakeStore
from tests.unit.admin.test_wait import status
from tests.unit.telemetry.records import record


@dataclass
class Lab:
    """A mesh whose time passes only while somebody pauses; what comes meanwhile is in `coming`."""

    at: float = 0.0
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    kept: Requests = field(default_factory=Requests)
    coming: list[int] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.at += seconds
        for number in range(self.coming.pop(0) if self.coming else 0):
            self.kept.add(record("orders", direction="inbound", request_id=f"{self.at}-{number}"))

    async def ask(self, node: str, kind: str, argument: str) -> str:
        self.asked.append((node, kind, argument))
        if node == "orders-2":
            raise UnansweredError("silent")
        return ""

    def proxies(self) -> list[ProxyDetail]:
        return [
            ProxyDetail(
                name=name, service=name[:-2], state="synced", revision=1, connected=name != "orders-3"
            )
            for name in ("orders-1", "orders-2", "orders-3", "catalog-1")
        ]

    def mesh(self) -> Mesh:
        async def current() -> Any:
            return status(1)

        return Mesh(
            revisions=FakeStore(), status=current, instances=lambda: (), tokens=FakeTokens(), now=self.now,
            pause=self.pause, proxies=self.proxies, ask=self.ask,
            requests=SharedRequests(self.kept, Reached("here")),
        )  # fmt: skip


async def told(lab: Lab, looks: int) -> list[tuple[str, dict[str, Any]]]:
    """The events of a listener who looks so often."""
    blocks: AsyncIterator[str] = stream(lab.mesh(), TapParams(service="orders"), "")
    text = "".join([await anext(blocks) for _ in range(looks + 1)])
    await blocks.aclose()  # type: ignore[attr-defined]
    events = [one.split("\n") for one in text.split("\n\n") if one.startswith("event")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in events]


async def test_connected_proxies_are_asked_for_a_while_again_and_again() -> None:
    lab = Lab()
    events = await told(lab, round(9 / server.LOOK))
    assert {name for name, _, _ in lab.asked} == {"orders-1", "orders-2"}
    assert {(kind, argument) for _, kind, argument in lab.asked} == {("tap", str(server.LASTS))}
    assert len(lab.asked) == 2 * 3, "at 0, 4 and 8 seconds"
    (state,) = [one for name, one in events if name == "state"]
    assert (state["proxies"], state["listening"], state["silent"]) == (2, 1, ["orders-2"])


async def test_what_came_is_shown_in_order() -> None:
    events = await told(Lab(coming=[2, 0, 1]), 4)
    shown = [one["request"]["id"] for name, one in events if name == "request"]
    assert shown == ["0.25-0", "0.25-1", "0.75-0"]


async def test_too_many_at_a_time_are_counted_not_shown() -> None:
    events = await told(Lab(coming=[3 * RATE, RATE, 0, 0, 0, 10]), 8)
    shown = [name for name, _ in events].count("request")
    more = sum(one["more"] for name, one in events if name == "more")
    room = RATE * server.LOOK
    assert shown == RATE + room + 10
    assert shown + more == 4 * RATE + 10


async def test_a_service_without_a_proxy_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no proxy of nobody"):
        await anext(stream(Lab().mesh(), TapParams(service="nobody"), ""))
