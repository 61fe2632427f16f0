"""Looking into a sidecar by the admin API: what its agent is asked, and how its answers are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from meshwright.control_plane.api import calls
from meshwright.control_plane.api.calls import ApiCall
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import BAD_INPUT, TIMED_OUT, ApiError
from meshwright.control_plane.api.models.commands import (
    LogPart,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.errors import CommandTimeoutError, InputError
from tests.fakes.admin_server import FakeMesh

LEVELS = ProxyLogLevel(proxy="orders-1", level="warning", loggers={"http": "debug"}, resets_in=12.5)


async def test_what_an_agent_tells_is_given_as_it_is(mesh: FakeMesh) -> None:
    stats = ProxyStats(proxy="orders-1", stats={"server.live": 1, "time": "P0(nan,1)"}, truncated=True)
    logs = ProxyLogs(proxy="orders-1", logs=(LogPart(source="app", file="/a.log", text="ä\n", end=3),))
    config = ProxyConfig(proxy="orders-1", configs=({"@type": "a", "n": [1, {"b": None}]},))
    mesh.replies = {
        "stats": stats.model_dump_json(),
        "logs": logs.model_dump_json(),
        "config": config.model_dump_json(),
        "log-level": LEVELS.model_dump_json(),
    }
    async with Client(mesh.endpoint) as client:
        assert await client.proxy_stats("orders-1", "rq_(2|5)xx$") == stats
        assert await client.proxy_logs("orders-1", 7) == logs.logs
        assert await client.proxy_logs("orders-1", 0, {"app": 3, "proxy": 0}) == logs.logs
        assert await client.proxy_config("orders-1", "clusters") == config.configs
        assert await client.log_level("orders-1") == LEVELS
        assert await client.set_log_level("orders-1", "debug", "http", 30) == LEVELS
        assert await client.set_log_level("orders-1", "off") == LEVELS
    assert [(kind, argument) for _, kind, argument in mesh.commands] == [
        ("stats", "rq_(2|5)xx$"),
        ("logs", "lines=7"),
        ("logs", "lines=0&proxy=0&app=3"),
        ("config", "clusters"),
        ("log-level", ""),
        ("log-level", "level=debug&logger=http&seconds=30"),
        ("log-level", "level=off&seconds=600"),
    ]


async def refused(mesh: FakeMesh, call: ApiCall) -> ApiError:
    async with Client(mesh.endpoint) as client:
        with pytest.raises(ApiError) as caught:
            await client._send(call, ProxyStats)
    return caught.value


def known(name: str) -> ProxyDetail:
    return ProxyDetail(name=name, service="orders", state="synced", revision=1, connected=True)


async def test_a_wrong_name_is_told_with_those_that_are_near(mesh: FakeMesh) -> None:
    mesh.details = tuple(known(name) for name in ("orders-1", "orders-2", "catalog-1"))
    near = await refused(mesh, calls.proxy_stats("ordres-1"))
    assert (near.status, near.exit_code) == (404, BAD_INPUT)
    assert str(near) == "no such proxy: ordres-1: did you mean orders-1, orders-2?"
    far = await refused(mesh, calls.proxy_stats("xyz"))
    assert (far.status, str(far)) == (404, "no such proxy: xyz: see `mesh proxies`")
    assert (await refused(mesh, calls.proxy_stats("../etc"))).status == 400


async def test_an_agent_that_is_silent_is_a_timeout_and_a_wrong_ask_is_the_callers(mesh: FakeMesh) -> None:
    mesh.details = (known("orders-2"),)
    away = await refused(mesh, calls.proxy_stats("orders-2"))
    assert (away.status, away.exit_code, away.code) == (504, TIMED_OUT, "unanswered")
    assert "its agent is not connected" in str(away)
    mesh.replies = {"stats": CommandTimeoutError("orders-1: its agent does not answer within 10 s")}
    silent = await refused(mesh, calls.proxy_stats("orders-1"))
    assert (silent.status, str(silent)) == (504, "orders-1: its agent does not answer within 10 s")
    mesh.replies = {"stats": InputError("orders-1: Envoy says: missing )")}
    wrong = await refused(mesh, calls.proxy_stats("orders-1", "("))
    assert (wrong.status, wrong.exit_code) == (400, BAD_INPUT)


@pytest.mark.parametrize("text", ["", "[]", '{"proxy": "orders-1"}', '{"proxy": 7, "stats": {}}'])
async def test_an_answer_in_another_form_is_none(mesh: FakeMesh, text: str) -> None:
    mesh.replies = {"stats": text}
    strange = await refused(mesh, calls.proxy_stats("orders-1"))
    assert (strange.status, "in another form" in str(strange)) == (504, True)


async def test_a_configuration_is_passed_on_as_it_is(mesh: FakeMesh) -> None:
    mesh.replies = {"config": '{"proxy":"orders-1","configs":[{"a":1.50}], "more": true}'}
    async with Client(mesh.endpoint) as client:
        assert await client.proxy_config("orders-1") == ({"a": 1.5},)
    mesh.replies = {"config": "<html>"}
    assert (await refused(mesh, calls.proxy_config("orders-1"))).status == 504


@pytest.mark.parametrize(
    "body",
    [
        {"level": "loud"},
        {"level": "debug", "logger": "a,b:off"},
        {"level": "debug", "seconds": 0},
        {"level": "debug", "seconds": 86_401},
        {},
    ],
    ids=json.dumps,
)
async def test_a_log_level_is_checked_before_anybody_is_asked(mesh: FakeMesh, body: dict[str, Any]) -> None:
    call = ApiCall("PUT", "/api/v1/proxies/orders-1/log-level", body)
    assert (await refused(mesh, call)).status == 400
    assert mesh.commands == []


async def test_only_who_has_the_token_may_look(mesh: FakeMesh) -> None:
    mesh.replies = {"stats": "{}"}
    stranger = FakeMesh(mesh.state, url=mesh.url, token="x" * 43)
    with capture_logs() as logs:
        assert (await refused(stranger, calls.proxy_stats("orders-1"))).status == 401
    assert mesh.commands == []
    assert not [entry for entry in logs if entry["event"] == "ask"]
