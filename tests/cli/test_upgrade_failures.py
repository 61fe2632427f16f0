"""`mesh upgrade` with an Envoy that does not take over: the one before goes on, and the command says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from meshwright.control_plane.envoy_binary import envoy_binary
from meshwright.sidecar import control_client, hot_restart
from tests.cli.streams import ChunkedStream
from tests.cli.test_up import ROUTE
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.steady_load import load

FAILING = "exit 3"

WRAPPER = """#!/bin/sh
# A hot restart (--restart-epoch) does what the file says: nothing, or a shell command.
case "$*" in *--restart-epoch*) . {switch} ;; esac
exec {envoy} "$@"
"""

STREAM_SECONDS = 30


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a new Envoy does at first, as a shell script."""
    return tmp_path_factory.mktemp("envoy") / "switch.sh"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, switch: Path) -> Iterator[Mesh]:
    """A mesh whose Envoys are started through `switch`."""
    wrapper = switch.with_name("envoy")
    wrapper.write_text(WRAPPER.format(switch=switch, envoy=envoy_binary()))
    wrapper.chmod(0o755)
    switch.write_text("")
    services = [service("front")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services, MESH_ENVOY=str(wrapper)) as running:
        running.apply(ROUTE)
        yield running


def assert_goes_on(mesh: Mesh, folder: Path, reason: str) -> None:
    """A hot restart of the gateway's Envoy fails for this reason, and no request or stream does."""
    before = mesh.pid("ingress.proxy")
    with load(folder, f"http://127.0.0.1:{mesh.ingress_port}/echo") as sent:
        stream = ChunkedStream(mesh.ingress_port, STREAM_SECONDS)
        stream.start()
        until(lambda: stream.lines or stream.outcome, "the stream began")
        with pytest.raises(ValueError, match=reason):
            control_client.replace_proxy(mesh.state, "ingress")
        stream.join(STREAM_SECONDS * 4)
        assert stream.outcome == "end", (stream.outcome, stream.lines)
    assert sent.requests > 500 and sent.failed == 0, sent.report
    assert mesh.pid("ingress.proxy") == before
    assert not (mesh.state / "run" / "ingress.proxy.next.json").exists()
    until(lambda: mesh.is_sound(proxies=2), "the mesh is sound", every=0.5)


def test_an_envoy_that_ends_at_once_changes_nothing(mesh: Mesh, switch: Path, tmp_path: Path) -> None:
    switch.write_text(FAILING)
    assert_goes_on(mesh, tmp_path, "the new process ended")
    before = mesh.pid("ingress.proxy")
    done = mesh.run("upgrade", "--envoys", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ingress: hot restart failed: the new process ended" in done.stderr
    assert "the Envoy of before goes on" in done.stderr
    assert mesh.pid("ingress.proxy") == before


@pytest.mark.long
def test_an_envoy_that_is_never_ready_changes_nothing(mesh: Mesh, switch: Path, tmp_path: Path) -> None:
    switch.write_text("exec sleep 3600")
    assert_goes_on(mesh, tmp_path, f"was not ready within {hot_restart.TIMEOUT:g} s")


async def test_the_next_attempt_succeeds_under_a_websocket(mesh: Mesh, switch: Path, tmp_path: Path) -> None:
    await asyncio.to_thread(switch.write_text, FAILING)
    with pytest.raises(ValueError, match="ended"):
        await asyncio.to_thread(control_client.replace_proxy, mesh.state, "ingress")
    await asyncio.to_thread(switch.write_text, "")
    before = mesh.pid("ingress.proxy")
    url = f"127.0.0.1:{mesh.ingress_port}"
    with load(tmp_path, f"http://{url}/echo") as sent:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"ws://{url}/ws") as websocket:
            await asyncio.to_thread(control_client.replace_proxy, mesh.state, "ingress")
            assert mesh.pid("ingress.proxy") != before
            assert mesh.pid("ingress.proxy.previous") == before
            await websocket.send_str("after")
            assert (await websocket.receive_str(timeout=60)).endswith(": after")
    assert sent.requests > 500 and sent.failed == 0, sent.report
