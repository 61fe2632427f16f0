"""WebSocket, server-sent events and slow responses, through the ingress and between sidecars."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: back}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: back}]}]
"""

TIMEOUT = """
apiVersion: meshwright.io/v1
kind: Timeout
metadata: {name: silence}
spec:
  targetRefs: [{kind: Service, name: back}]
  idle: 1s
"""

LONGER_THAN_ENVOYS_DEFAULT = 17.0
"""Seconds; Envoy's default route timeout is 15."""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front"), service("back")]) as running:
        running.apply(ROUTE)
        yield running


async def _conversation(url: str, proxy: str | None) -> list[str]:
    """The responses of a WebSocket to three messages, each sent after the previous response."""
    responses = []
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, proxy=proxy, timeout=aiohttp.ClientWSTimeout(ws_receive=30)) as socket,
    ):
        for number in range(3):
            await socket.send_str(str(number))
            responses.append(await socket.receive_str())
    return responses


RESPONSES = ["back-1: 0", "back-1: 1", "back-1: 2"]


async def test_websocket_through_the_ingress(mesh: Mesh) -> None:
    assert await _conversation(f"ws://127.0.0.1:{mesh.ingress_port}/ws", None) == RESPONSES


async def test_websocket_through_two_sidecars(mesh: Mesh) -> None:
    proxy = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}"
    assert await _conversation("http://back/ws", proxy) == RESPONSES


@pytest.mark.parametrize("path_taken", ["ingress", "sidecars"])
def test_events_arrive_one_by_one(mesh: Mesh, path_taken: str) -> None:
    path = "/events?count=3&every=1.5"
    if path_taken == "ingress":
        response = mesh.outside(path, stream=True)
    else:
        response = mesh.get("front-1", f"http://back{path}", stream=True)
    assert response.headers["content-type"] == "text/event-stream"
    lines = response.iter_lines(chunk_size=1)
    pairs = [(line, time.monotonic()) for line in lines if line.startswith(b"id")]
    assert [line for line, _ in pairs] == [b"id: 0", b"id: 1", b"id: 2"]
    assert pairs[2][1] - pairs[0][1] > 0.7


def test_response_may_take_longer_than_envoys_default_timeout(mesh: Mesh) -> None:
    wait = round(LONGER_THAN_ENVOYS_DEFAULT * 1000)
    assert mesh.outside(f"/delay?ms={wait}").text == "back-1"


def test_silent_request_ends_only_with_a_timeout_policy(mesh: Mesh) -> None:
    mesh.apply(TIMEOUT)
    try:
        start = time.monotonic()
        assert mesh.get("front-1", "http://back/delay?ms=9000").status_code == 504
        assert time.monotonic() - start < 8
    finally:
        mesh.delete("Timeout", "silence")


async def test_plan_of_a_change_counts_the_streams_that_are_open(mesh: Mesh, tmp_path: Path) -> None:
    (policy := tmp_path / "timeout.yaml").write_text(TIMEOUT)

    def plan(*output: str) -> str:
        return mesh.run("diff", "-f", str(policy), *output, check=False).stdout

    async def until_open(count: int) -> None:
        await asyncio.to_thread(
            until,
            lambda: json.loads(plan("-o", "json"))["impact"]["open_streams"] == count,
            f"{count} open streams",
            60,
        )

    await until_open(0)
    proxy = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect("http://back/ws", proxy=proxy) as socket,
    ):
        await socket.send_str("0")
        assert await socket.receive_str() == "back-1: 0"
        await until_open(1)
        first = (await asyncio.to_thread(plan)).splitlines()[0]
        assert first.endswith(", 1 open stream")
