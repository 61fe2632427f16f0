"""Services as real processes: `python -m meshwright.services.NAME`, observed by their logs."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.ports import free_port
from tests.services.forward_proxy import ForwardProxy

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 150.0
"""Seconds for anything that a test waits for, even on a busy machine."""


async def until(condition: Callable[[], Awaitable[Any]] | Callable[[], Any]) -> Any:
    """Poll until `condition` returns something true, and return it."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError("the condition never became true")
        await asyncio.sleep(0.02)


def caller(user: str, *roles: str) -> dict[str, str]:
    """The headers by which the gateway says who sends a request."""
    encoded = base64.urlsafe_b64encode(json.dumps(roles).encode()).decode()
    return {"x-user-id": user, "x-user-email": f"{user}@example.com", "x-user-roles": encoded}


STAFF = caller("staff", "admin")


@dataclass(frozen=True)
class Response:
    """An HTTP response with a JSON body."""

    status: int
    headers: Any
    body: Any

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.body["error"]["code"])


@dataclass
class ServiceProcess:
    """One process of a service, and the port that it listens on."""

    service: str
    process: asyncio.subprocess.Process
    log: Path
    port: int
    grpc_port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def records(self) -> list[dict[str, Any]]:
        """Its log so far, without lines that are incomplete or not JSON."""
        complete = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in complete.splitlines() if line.startswith("{")]

    async def stop(self) -> int:
        """Send SIGTERM; returns the exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        async with asyncio.timeout(TIMEOUT):
            return await self.process.wait()

    async def kill(self) -> None:
        """Send SIGKILL and wait."""
        self.process.kill()
        await self.process.wait()


@dataclass
class Broker:
    """The exchange's broker, with the same port and data after each start."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        environ = {"PORT": str(self.port), "DATA_DIR": str(self.folder / "data"), "PYTHONPATH": str(ROOT)}
        with (self.folder / "broker.log").open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "meshwright.services.broker", stdout=output, stderr=output,
                env={**os.environ, **environ},
            )  # fmt: skip

        async def answers() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                return False
            writer.close()
            return True

        await until(answers)

    async def kill(self) -> None:
        """Send SIGKILL and wait."""
        assert self.process
        self.process.kill()
        await self.process.wait()

    async def aclose(self) -> None:
        """Kill it if it runs."""
        if self.process and self.process.returncode is None:
            await self.kill()


@dataclass
class Shop:
    """The services of one test: their data, their proxy, and a client that calls them directly."""

    folder: Path
    proxy: ForwardProxy
    session: aiohttp.ClientSession
    processes: list[ServiceProcess] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    environ: dict[str, str] = field(default_factory=dict)
    """Settings of all services that are started from now on."""

    async def start(self, service: str, **environ: str) -> ServiceProcess:
        """Start a process of `service`, wait until it listens, and add it to the proxy."""
        log = self.folder / f"{service}-{next(self.numbers)}.log"
        settings = {"PORT": "0", "DATA_DIR": str(self.folder / "data"), "PYTHONPATH": str(ROOT)}
        proxies = {
            "HTTP_PROXY": self.proxy.url,
            "http_proxy": self.proxy.url,
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"meshwright.services.{service}", stdout=output, stderr=output,
                cwd=self.folder, env={**inherited, **settings, **proxies, **self.environ, **environ},
            )  # fmt: skip
        started = ServiceProcess(service, process, log, 0)
        self.processes.append(started)

        def listening_port() -> int:
            assert process.returncode is None, log.read_text()
            ports = (record["port"] for record in started.records() if record["event"] == "listening")
            return int(next(ports, 0))

        started.port = await until(listening_port)
        ports = [record["grpc_port"] for record in started.records() if "grpc_port" in record]
        started.grpc_port = int(ports[0]) if ports else 0
        self.proxy.ports[service].append(started.port)
        return started

    async def run(self, service: str, *arguments: str, **environ: str) -> tuple[int, str]:
        """Run a command of a service on its database; returns its exit code and output."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"meshwright.services.{service}", *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=self.folder,
            env={**os.environ, "DATA_DIR": str(self.folder / "data"), "PYTHONPATH": str(ROOT), **environ},
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    def remove_from_proxy(self, stopped: ServiceProcess) -> None:
        """Make the proxy stop sending to a process."""
        self.proxy.ports[stopped.service].remove(stopped.port)

    async def call(
        self,
        service: ServiceProcess,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        by: dict[str, str] | None = None,
    ) -> Response:
        """Send one request directly to a process, as the gateway would `by` a caller; by default an admin."""
        url = service.url + path
        headers = {**(STAFF if by is None else by), **(headers or {})}
        async with self.session.request(method, url, json=body, headers=headers) as response:
            text = await response.text()
            return Response(response.status, response.headers, json.loads(text) if text else None)

    async def order(
        self,
        orders: ServiceProcess,
        key: str,
        items: dict[str, int],
        user: str = "ada",
        card: str = "tok",
    ) -> Response:
        """Place an order."""
        lines = [{"productId": product, "quantity": quantity} for product, quantity in items.items()]
        body = {"items": lines, "cardToken": card}
        headers = {"Idempotency-Key": key}
        return await self.call(orders, "POST", "/api/orders", body, headers, by=caller(user, "customer"))

    async def stock(self, inventory: ServiceProcess, product: str) -> dict[str, int]:
        """The stock of a product."""
        response = await self.call(inventory, "GET", f"/api/inventory/{product}")
        assert response.status == 200, response
        return {name: response.body[name] for name in ("onHand", "reserved", "available")}

    async def set_stock(self, inventory: ServiceProcess, product: str, on_hand: int) -> None:
        """Set the stock of a product."""
        response = await self.call(inventory, "PUT", f"/api/inventory/{product}", {"onHand": on_hand})
        assert response.status == 200, response

    async def close(self) -> None:
        """Stop the processes that still run."""
        for process in self.processes:
            try:
                await process.stop()
            except TimeoutError:
                await process.kill()
