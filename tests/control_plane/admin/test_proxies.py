"""Inspecting a sidecar through the admin API: the commands for its agent, and the responses to callers."""

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
    InstanceRestart,
    LogPart,
    ProxyConfig,
    ProxyLogLevel,
    ProxyLogs,
    ProxyStats,
)
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.errors import CommandTimeoutError, InputError
from tests.fakes.admin_server import FakeMesh

RESTART = InstanceRestart(proxy="orders-1", phase="draining", finished=False)
LEVELS = ProxyLogLevel(proxy="orders-1", level="warning", loggers={"http": "debug"}, resets_in=12.5)


async def test_results_of_an_agent_are_returned_unchanged(mesh: FakeMesh) -> None:
    stats = ProxyStats(proxy="orders-1", stats={"server.live": 1, "time": "P0(nan,1)"}, truncated=True)
    logs = ProxyLogs(proxy="orders-1", logs=(LogPart(source="app", file="/a.log", text="ä\n", end=3),))
    config = ProxyConfig(proxy="orders-1", configs=({"@type": "a", "n": [1, {"b": None}]},))
    mesh.replies = {
        "stats": stats.model_dump_json(),
        "logs": logs.model_dump_json(),
        "config": config.model_dump_json(),
        "log-level": LEVELS.model_dump_json(),
        "restart": RESTART.model_dump_json(),
    }
    async with Client(mesh.endpoint) as client:
        assert await client.proxy_stats("orders-1", "rq_(2|5)xx$") == stats
        assert await client.proxy_logs("orders-1", 7) == logs.logs
        assert await client.proxy_logs("orders-1", 0, {"app": 3, "proxy": 0}) == logs.logs
        assert await client.proxy_config("orders-1", "clusters") == config.configs
        assert await client.log_level("orders-1") == LEVELS
        assert await client.set_log_level("orders-1", "debug", "http", 30) == LEVELS
        assert await client.set_log_level("orders-1", "off") == LEVELS
        assert await client.begin_restart("orders-1") == RESTART
        assert await client.restart_status("orders-1") == RESTART
    assert [(kind, argument) for _, kind, argument in mesh.commands] == [
        ("stats", "rq_(2|5)xx$"),
        ("logs", "lines=7"),
        ("logs", "lines=0&proxy=0&app=3"),
        ("config", "clusters"),
        ("log-level", ""),
        ("log-level", "level=debug&logger=http&seconds=30"),
        ("log-level", "level=off&seconds=600"),
        ("restart", "begin"),
        ("restart", ""),
    ]


async def api_error(mesh: FakeMesh, call: ApiCall) -> ApiError:
    async with Client(mesh.endpoint) as client:
        with pytest.raises(ApiError) as caught:
            await client._send(call, ProxyStats)
    return caught.value


def connected(name: str) -> ProxyDetail:
    return ProxyDetail(name=name, service="orders", state="synced", revision=1, connected=True)


async def test_an_unknown_name_is_reported_with_similar_ones(mesh: FakeMesh) -> None:
    mesh.details = tuple(connected(name) for name in ("orders-1", "orders-2", "catalog-1"))
    similar = await api_error(mesh, calls.proxy_stats("ordres-1"))
    assert (similar.status, similar.exit_code) == (404, BAD_INPUT)
    assert str(similar) == "no such proxy: ordres-1: did you mean orders-1, orders-2?"
    unknown = await api_error(mesh, calls.proxy_stats("xyz"))
    assert (unknown.status, str(unknown)) == (404, "no such proxy: xyz: see `mesh proxies`")
    assert (await api_error(mesh, calls.proxy_stats("../etc"))).status == 400


async def test_a_missing_agent_is_a_timeout_and_an_invalid_filter_a_400(
    mesh: FakeMesh,
) -> None:
    mesh.details = (connected("orders-2"),)
    missing = await api_error(mesh, calls.proxy_stats("orders-2"))
    assert (missing.status, missing.exit_code, missing.code) == (504, TIMED_OUT, "timeout")
    assert "its agent is not connected" in str(missing)
    mesh.replies = {"stats": CommandTimeoutError("orders-1: its agent does not answer within 10 s")}
    slow = await api_error(mesh, calls.proxy_stats("orders-1"))
    assert (slow.status, str(slow)) == (504, "orders-1: its agent does not answer within 10 s")
    mesh.replies = {"stats": InputError("orders-1: Envoy says: missing )")}
    invalid = await api_error(mesh, calls.proxy_stats("orders-1", "("))
    assert (invalid.status, invalid.exit_code) == (400, BAD_INPUT)


@pytest.mark.parametrize("text", ["", "[]", '{"proxy": "orders-1"}', '{"proxy": 7, "stats": {}}'])
async def test_a_result_in_another_form_is_an_error(mesh: FakeMesh, text: str) -> None:
    mesh.replies = {"stats": text}
    unexpected = await api_error(mesh, calls.proxy_stats("orders-1"))
    assert (unexpected.status, "sent an unexpected result" in str(unexpected)) == (504, True)


async def test_a_configuration_dump_is_passed_through(mesh: FakeMesh) -> None:
    mesh.replies = {"config": '{"proxy":"orders-1","configs":[{"a":1.50}], "more": true}'}
    async with Client(mesh.endpoint) as client:
        assert await client.proxy_config("orders-1") == ({"a": 1.5},)
    mesh.replies = {"config": "<html>"}
    assert (await api_error(mesh, calls.proxy_config("orders-1"))).status == 504


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
async def test_an_invalid_log_level_is_not_sent_to_the_agent(mesh: FakeMesh, body: dict[str, Any]) -> None:
    call = ApiCall("PUT", "/api/v1/proxies/orders-1/log-level", body)
    assert (await api_error(mesh, call)).status == 400
    assert mesh.commands == []


async def test_without_the_token_no_command_is_sent(mesh: FakeMesh) -> None:
    mesh.replies = {"stats": "{}"}
    anonymous = FakeMesh(mesh.state, url=mesh.url, token="x" * 43)
    with capture_logs() as logs:
        assert (await api_error(anonymous, calls.proxy_stats("orders-1"))).status == 401
    assert mesh.commands == []
    assert not [entry for entry in logs if entry["event"] == "command"]
