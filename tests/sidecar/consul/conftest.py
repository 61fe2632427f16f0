"""The registry of a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from meshwright.sidecar.consul.answers import Node
from meshwright.sidecar.consul.catalog import Catalog
from meshwright.sidecar.consul.http import HttpApi
from meshwright.sidecar.consul.lookups import Lookups
from meshwright.sidecar.consul.registry import Registry
from tests.sidecar.consul.world import FakeAgent, World


async def address_of(_request: web.Request, _service: str, port: int) -> tuple[str, int]:
    return "127.10.0.9", port


async def note_registration(_request: web.Request, _service: str) -> None:
    pass


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    agent = FakeAgent()
    catalog = Catalog(agent.instances)

    async def create_token(service: str) -> Path:
        return tmp_path / service

    async with aiohttp.ClientSession() as session:
        registry = Registry(agent, create_token, session, tmp_path / "services.json", catalog.refresh)
        node = Node("node-1")
        lookups = Lookups(catalog, address_of, node, registry.id_of)
        api = HttpApi(registry, lookups, node, note_registration, token="secret")
        following = asyncio.create_task(catalog.run())
        server = TestServer(api.application())
        async with TestClient(server, headers={"X-Consul-Token": "secret"}) as client:
            yield World(client, agent, registry)
        following.cancel()
        await registry.close()
