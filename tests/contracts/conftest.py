"""Services in this process, which call each other by name as they do through their sidecars."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from meshwright.services.hosting.server import serving
from meshwright.services.kit.client import ServiceClient, open_client
from meshwright.services.kit.service import ServiceDefinition
from meshwright.services.kit.settings import read_settings
from tests.services.forward_proxy import running_forward_proxy


class Exchange:
    """The services that a test has started. `client` calls them by name, as another service would."""

    def __init__(self, folder: Path, ports: dict[str, list[int]], stack: contextlib.AsyncExitStack) -> None:
        self.data = folder
        self._ports = ports
        self._stack = stack
        self.client: ServiceClient

    async def serve(self, service: ServiceDefinition, **environ: str) -> str:
        """Start a service with an empty database; returns its URL."""
        environ = {"DATA_DIR": str(self.data), "DRAIN_SECONDS": "1", **environ}
        settings = read_settings(service.name, environ, 0)
        port, _ = await self._stack.enter_async_context(serving(service, settings, environ))
        self._ports[service.name].append(port)
        return f"http://127.0.0.1:{port}"


@pytest.fixture
async def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Exchange]:
    """An exchange without services at first."""
    async with running_forward_proxy() as proxy, contextlib.AsyncExitStack() as stack:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        exchange = Exchange(tmp_path, proxy.ports, stack)
        exchange.client = await stack.enter_async_context(open_client())
        yield exchange


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that calls services directly, as the ingress does."""
    async with aiohttp.ClientSession() as session:
        yield session
