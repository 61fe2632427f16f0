"""One control plane with its store for all attacks of a file, and the credentials of an attacker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.scale.plane import ControlPlaneProcess, control_plane

WITHIN = 60.0
"""Seconds to wait for a condition, on a busy machine."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneProcess]:
    """A control plane."""
    with control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


class Api:
    """The admin API with one of its tokens."""

    def __init__(self, plane: ControlPlaneProcess, token: str) -> None:
        self.url = plane.addresses.admin
        self.token = (state(plane) / token).read_text().strip()

    def request(self, method: str, path: str, body: Any = None, timeout: float = 120.0) -> requests.Response:
        """One call; `path` is below /api/v1."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                f"{self.url}/api/v1{path}",
                json=body,
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=timeout,
            )

    def get(self, path: str) -> Any:
        """The JSON of a successful GET."""
        response = self.request("GET", path)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture(scope="module")
def reader(plane: ControlPlaneProcess) -> Api:
    """The API with the read-only token."""
    return Api(plane, "read.token")


@pytest.fixture(scope="module")
def admin(plane: ControlPlaneProcess) -> Api:
    """The API with the admin token."""
    return Api(plane, "admin.token")


def state(plane: ControlPlaneProcess) -> Path:
    """The state directory of a control plane."""
    return plane.log.parent / "state"


def until(condition: Callable[[], Any], what: str, within: float = WITHIN) -> Any:
    """Poll until `condition` is true, and return its value."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.05)
    return value


async def until_async(condition: Callable[[], Any], what: str, within: float = WITHIN) -> Any:
    """`until` for a test that shares the event loop with its clients."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.05)
    return value
