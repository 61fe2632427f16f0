"""A running admin API over fakes, with a typed client and a session without credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from meshwright.control_plane.api.client import Client
from tests.fakes.admin_server import FakeMesh, fake_mesh


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[FakeMesh]:
    async with fake_mesh(tmp_path / "state") as running:
        yield running


@pytest.fixture
async def client(mesh: FakeMesh) -> AsyncIterator[Client]:
    async with Client(mesh.endpoint) as client:
        yield client


@pytest.fixture
async def raw(mesh: FakeMesh) -> AsyncIterator[aiohttp.ClientSession]:
    """A session without credentials; its paths are relative to the server."""
    async with aiohttp.ClientSession(mesh.url) as session:
        yield session
