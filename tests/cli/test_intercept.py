"""`mesh intercept` when things go wrong: nothing is left behind, and nobody gets errors of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import requests

from tests.cli.joining import Joined, command, starting
from tests.envoy.grpc_client import channel
from tests.envoy.harness import Mesh, running_mesh, service, until


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back"), other("rpc", "grpc"), other("db", "tcp")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        yield running


def other(name: str, protocol: str) -> dict[str, Any]:
    """A service whose port has a name of its own and speaks another protocol than HTTP."""
    ports = [{"name": "api", "protocol": protocol, "port": 0, "number": 7000}]
    argv = [sys.executable, "-m", f"tests.fakes.{protocol}_app"]
    return {**service(name), "command": argv, "ports": ports, "health": {"interval": "1s"}}


@contextlib.contextmanager
def intercepting(mesh: Mesh, name: str, *which: str) -> Iterator[Joined]:
    """An instance of back that takes some of its requests. Its processes are killed at the end."""
    health = ("--health", "/health/ready", "--health-interval", "1s")
    options = ("intercept", "back", *which, "--instance", name, *health, "--state", str(mesh.state))
    argv = command(*options, "--", sys.executable, "-m", "tests.fakes.app")
    with starting(mesh, name, mesh.state, argv) as instance:
        processes = [psutil.Process(instance.pid(part)) for part in ("app", "proxy")]
        try:
            yield instance
        finally:
            instance.process.kill()
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def names(mesh: Mesh, header: str = "", count: int = 1) -> set[str]:
    """Who responds to requests, with `x-dev` if a value is given; statuses of errors."""
    headers = {"x-dev": header} if header else {}
    calls = (mesh.get("front-1", "http://back/echo", headers=headers) for _ in range(count))
    return {str(call.json()["name"]) if call.status_code == 200 else str(call.status_code) for call in calls}


def answered_by(mesh: Mesh, expected: set[str], header: str = "", count: int = 1) -> bool:
    return names(mesh, header, count) == expected


@pytest.mark.parametrize("which", [("--header", "x-dev=me"), ("--percent", "100")])
def test_requests_go_to_the_others_while_the_process_is_unhealthy(mesh: Mesh, which: tuple[str, str]) -> None:
    with intercepting(mesh, "mine", *which) as instance:
        until(partial(answered_by, mesh, {"mine"}, "me"), "it takes the request")
        app = f"http://127.0.0.1:{instance.port('app.http')}"
        requests.post(f"{app}/health/fail", timeout=60)
        until(partial(answered_by, mesh, {"back-1"}, "me"), "the others respond")
        assert names(mesh, "me", 50) == {"back-1"}
        requests.post(f"{app}/health/ok", timeout=60)
        until(partial(answered_by, mesh, {"mine"}, "me"), "it takes the request again")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_nothing_is_left_when_the_agent_is_killed_or_its_terminal_closed(
    mesh: Mesh, number: signal.Signals
) -> None:
    with intercepting(mesh, "mine", "--header", "x-dev=me") as instance:
        until(partial(answered_by, mesh, {"mine"}, "me"), "it takes the request")
        instance.process.send_signal(number)
        instance.process.wait(60)
        until(partial(answered_by, mesh, {"back-1"}, "me", 20), "the intercept is over")
        assert names(mesh, "me", 50) == {"back-1"}
        assert "mine" not in mesh.run("ps", "back").stdout


def test_a_header_and_a_percentage_of_two_developers_do_not_mix(mesh: Mesh) -> None:
    with (
        intercepting(mesh, "mine", "--header", "x-dev=me"),
        intercepting(mesh, "yours", "--header", "x-dev=you"),
        intercepting(mesh, "share", "--percent", "50"),
    ):
        until(partial(answered_by, mesh, {"back-1", "share"}, "", 50), "a part of the requests is taken")
        assert names(mesh, "me", 50) == {"mine"}
        assert names(mesh, "you", 50) == {"yours"}
    until(partial(answered_by, mesh, {"back-1"}, "", 50), "all is as before")


def test_a_header_and_a_percentage_together_are_refused(mesh: Mesh, tmp_path: Path) -> None:
    both = ("--header", "x-dev=me", "--percent", "5")
    done = mesh.run("intercept", "back", *both, "--", "touch", str(tmp_path / "started"), check=False)
    assert (done.returncode, "give --header NAME=VALUE, or --percent N" in done.stderr) == (2, True)
    assert not (tmp_path / "started").exists()


def test_a_process_takes_calls_of_grpc_as_its_service_speaks_it(mesh: Mesh) -> None:
    def answers(headers: tuple[tuple[str, str], ...]) -> str:
        async def ask() -> str:
            async with channel(mesh, "rpc:7000") as through:
                invoke = through.unary_unary("/fake.Echo/Echo", None, None)
                return str(json.loads(await invoke(b"{}", metadata=headers, timeout=60))["name"])

        try:
            return asyncio.run(ask())
        except grpc.aio.AioRpcError as error:
            return str(error.code())

    options = ("intercept", "rpc", "--header", "x-dev=me", "--instance", "mine", "--state", str(mesh.state))
    argv = command(*options, "--", sys.executable, "-m", "tests.fakes.grpc_app")
    with starting(mesh, "mine", mesh.state, argv) as instance:
        until(lambda: answers((("x-dev", "me"),)) == "mine", "it takes the call")
        assert {answers((("x-dev", "you"),)) for _ in range(20)} == {"rpc-1"}
        assert {answers(()) for _ in range(20)} == {"rpc-1"}
        instance.stop()
    until(lambda: answers((("x-dev", "me"),)) == "rpc-1", "the intercept is over")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("db", (), "db speaks TCP there"),
        ("db", ("--port", "api=0"), "db speaks TCP there"),
        ("rpc", ("--port", "apy=0"), "--port apy=0: rpc has no port apy: choose one of api"),
        ("bakc", (), "no such service: bakc"),
    ],
)
def test_what_cannot_be_intercepted_starts_nothing(
    mesh: Mesh, tmp_path: Path, name: str, options: tuple[str, ...], message: str
) -> None:
    argv = ("intercept", name, "--header", "x-dev=me", *options, "--", "touch", str(tmp_path / "started"))
    done = mesh.run(*argv, check=False)
    assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert not (tmp_path / "started").exists()
