"""`mesh run` and `mesh agent` wait for a control plane or store that is away."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from meshwright.cli.join.waiting import call_when_available
from meshwright.cli.state_lock import StateLock
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.config import Settings
from tests.fakes.admin_server import FakeMesh
from tests.fakes.ports import free_port

CALL = calls.history(limit=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "state")


async def test_store_that_returns_is_waited_for_with_a_line_on_stderr(
    mesh: FakeMesh, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh.store.unavailable = True
    call = asyncio.create_task(asyncio.to_thread(call_when_available, CALL, settings, settings.state, 300))
    reported = ""
    while "trying again for up to 300 s" not in reported:
        assert not call.done()
        reported += capsys.readouterr().err
        await asyncio.sleep(0.05)
    mesh.store.unavailable = False
    assert "revisions" in await call
    assert reported.startswith("mesh: ")


async def test_wait_ends_with_the_error(mesh: FakeMesh, settings: Settings) -> None:
    mesh.store.unavailable = True
    with pytest.raises(ApiError):
        await asyncio.to_thread(call_when_available, CALL, settings, settings.state, 0.6)


def test_control_plane_that_is_down_is_waited_for(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.state.mkdir(mode=0o700)
    admin = f"http://127.0.0.1:{free_port()}"
    addresses = {"admin": admin, "xds": "x", "enrolment": "x", "ca_sha256": "x"}
    for name, content in (("mesh.json", json.dumps(addresses)), ("admin.token", "secret")):
        (settings.state / name).touch(mode=0o600)
        (settings.state / name).write_text(content)
    with pytest.raises(UnreachableError):
        call_when_available(CALL, settings, settings.state, 0.6)
    assert "trying again" in capsys.readouterr().err


def test_only_a_mesh_that_exists_or_starts_is_waited_for(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnreachableError):
        call_when_available(CALL, settings, settings.state, 300)
    assert capsys.readouterr().err == ""
    starting = StateLock(settings.state)
    with pytest.raises(UnreachableError):
        call_when_available(CALL, settings, settings.state, 0.6)
    assert "trying again" in capsys.readouterr().err
    starting.release()
