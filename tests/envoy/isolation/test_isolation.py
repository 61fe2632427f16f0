"""What one caller does never costs another a request, at the ingress and between sidecars.

The quick versions run always, the full ones are `long`. Latencies are figures, not assertions:
`python -m bench.isolation` prints them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import grpc
import pytest
import requests

from tests.envoy.harness import Mesh
from tests.envoy.isolation import attacks, malformed
from tests.envoy.isolation.bystanders import bystanders
from tests.envoy.isolation.conftest import Channels, channel_of, entrance_of
from tests.envoy.isolation.entrance import Entrance, status_of
from tests.fakes.malformed_app import BAD_HEADERS


@dataclass(frozen=True)
class Size:
    """The size of an attack: calls a second, seconds of calls and of transfers, number of transfers."""

    rate: int
    calls_seconds: float
    transfers_seconds: float
    transfers: int


QUICK, FULL = Size(60, 3, 1, 4), Size(500, 20, 8, 50)
MESSAGES = [pytest.param(40, id="quick"), pytest.param(1_000, id="full", marks=pytest.mark.long)]
SEED = 11
AT_ONCE = 16

sized = pytest.mark.parametrize(
    "size", [pytest.param(QUICK, id="quick"), pytest.param(FULL, id="full", marks=pytest.mark.long)]
)


@sized
@pytest.mark.parametrize(
    "attack", [attacks.abandoned_call, attacks.timed_out_call, attacks.abandoned_websocket]
)
async def test_calls_that_are_given_up_cost_no_other_call(
    mesh: Mesh, entrance: Entrance, attack: attacks.Attack, size: Size
) -> None:
    slow = f"{mesh.app('back-1')}/switches/late/200?ms=1000"
    await asyncio.to_thread(lambda: requests.post(slow, timeout=60).raise_for_status())
    async with bystanders([entrance]) as report:
        assert await attacks.at_rate(attack(entrance), size.rate, size.calls_seconds) > size.rate
    assert report.failures == []
    assert report.seconds


@sized
async def test_grpc_calls_that_time_out_cost_no_other_call(channels: Channels, size: Size) -> None:
    attacker, bystander = channels
    async with bystanders([], bystander) as report:
        assert (
            await attacks.at_rate(attacks.abandoned_grpc_call(attacker), size.rate, size.calls_seconds)
            > size.rate
        )
    assert report.failures == []


@sized
@pytest.mark.parametrize(
    "attack", [attacks.unread_downloads, attacks.unread_uploads, attacks.unread_websockets]
)
async def test_transfers_that_nobody_reads_stall_no_other_call(
    entrance: Entrance, attack: attacks.Stall, size: Size
) -> None:
    async with attack(entrance, size.transfers), bystanders([entrance]) as report:
        await asyncio.sleep(size.transfers_seconds)
    assert report.failures == []
    assert report.seconds


@sized
async def test_grpc_streams_that_nobody_reads_stall_no_other_call(channels: Channels, size: Size) -> None:
    attacker, bystander = channels
    async with attacks.unread_grpc_streams(attacker, size.transfers), bystanders([], bystander) as report:
        await asyncio.sleep(size.transfers_seconds)
    assert report.failures == []


async def _send(entrance: Entrance, messages: Iterable[bytes]) -> set[str]:
    """Send each message, some at a time; returns the statuses of the answers."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def send(message: bytes) -> str:
        async with gate:
            return status_of(await entrance.exchange(message, within=1))

    return set(await asyncio.gather(*map(send, messages)))


@pytest.mark.parametrize("number", MESSAGES)
async def test_a_malformed_request_costs_no_other_call(entrance: Entrance, number: int) -> None:
    messages = malformed.requests(SEED, entrance.host.encode(), entrance.prefix.encode())
    async with bystanders([entrance]) as report:
        statuses = await _send(entrance, islice(messages, number))
    assert report.failures == []
    assert {"200", "400"} <= statuses


@pytest.mark.parametrize("number", MESSAGES)
@pytest.mark.parametrize("place", ["ingress", "sidecar"])
async def test_a_malformed_response_costs_no_other_call(mesh: Mesh, place: str, number: int) -> None:
    raw = entrance_of(mesh, place, "raw")
    innocent = entrance_of(mesh, "sidecar", "raw")
    messages = (raw.request(f"/malformed/{SEED}/{count}", "Connection: close") for count in range(number))
    async with bystanders([innocent], everything=False) as report:
        statuses = await _send(raw, messages)
    assert report.failures == []
    assert {"200", "502"} <= statuses


@pytest.mark.parametrize("place", ["ingress", "sidecar"])
async def test_a_malformed_http2_response_costs_no_other_call(mesh: Mesh, place: str) -> None:
    raw = entrance_of(mesh, place, "raw2")
    innocent = entrance_of(mesh, "sidecar", "raw2")
    paths = [f"/malformed/h2/{number}" for number in range(len(BAD_HEADERS))]
    async with bystanders([innocent], everything=False) as report:
        statuses = await _send(raw, [raw.request(path, "Connection: close") for path in paths])
    assert report.failures == []
    assert "502" in statuses


HOST_FIELDS = {
    "empty": ["Host:"],
    "blank": ["Host:  "],
    "two": ["Host: a", "Host: b"],
    "the same twice": ["Host: a", "Host: a"],
    "two empty": ["Host:", "Host:"],
    "list": ["Host: a,b"],
    "user": ["Host: user@a"],
    "space": ["Host: a b"],
    "path": ["Host: a/b"],
    "port": ["Host: a:b"],
    "large port": ["Host: a:65536"],
    "brackets": ["Host: [::1"],
    "percent": ["Host: %zz"],
    "bytes": ["Host: b\u00fccher"],
    "none": [],
}


@pytest.mark.parametrize("fields", HOST_FIELDS.values(), ids=HOST_FIELDS)
async def test_ingress_refuses_an_invalid_authority(mesh: Mesh, fields: list[str]) -> None:
    entrance = entrance_of(mesh, "ingress")
    message = "\r\n".join(["GET /echo HTTP/1.1", *fields, "Connection: close", "", ""]).encode()
    assert status_of(await entrance.exchange(message)) == "400"


@pytest.mark.parametrize("host", ["shop", "shop.example.com:8080", "127.0.0.1", "[::1]:8080", "a_b", "shop."])
async def test_ingress_accepts_a_valid_authority(mesh: Mesh, host: str) -> None:
    entrance = entrance_of(mesh, "ingress", host)
    assert status_of(await entrance.get("/echo")) == "200"


async def test_ingress_still_guards_itself_against_rapid_resets(mesh: Mesh) -> None:
    statistic = "downstream_rq_too_many_premature_resets"
    for _ in range(10):  # a busy machine does not abandon enough calls in one go
        async with channel_of(mesh, "ingress") as channel:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await attacks.at_rate(attacks.abandoned_grpc_call(channel), 400, 3)
        text = await asyncio.to_thread(mesh.run, "proxy", "ingress", "stats", "--filter", statistic)
        if statistic in text.stdout:
            return
    pytest.fail(f"{statistic} is not counted")
