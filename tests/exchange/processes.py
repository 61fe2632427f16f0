"""Services as real processes: `python -m meshwright.services.NAME`, known by what they log, stopped by pid."""

from __future__ import annotations

import asyncio
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

from tests.exchange.proxy import ForwardProxy

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds that anything awaited here may take on a busy machine."""


async def until(condition: Callable[[], Awaitable[Any]] | Callable[[], Any]) -> Any:
    """Poll until `condition` gives something true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError("the condition never came true")
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers, JSON."""

    status: int
    headers: Any
    body: Any

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.body["error"]["code"])


@dataclass
class Running:
    """One process of a service and the port it listens on."""

    service: str
    process: asyncio.subprocess.Process
    log: Path
    port: int
    grpc_port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def records(self) -> list[dict[str, Any]]:
        """What it has logged; lines that are not JSON, or still being written, are left out."""
        text = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.process.wait()


@dataclass
class Exchange:
    """The services of one test: their data, their proxy, and a client that talks to them directly."""

    folder: Path
    proxy: ForwardProxy
    session: aiohttp.ClientSession
    running: list[Running] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def start(self, service: str, **environ: str) -> Running:
        """A new process of `service`, from the moment it listens; the proxy then knows it."""
        log = self.folder / f"{service}-{next(self.numbers)}.log"
        values = {"PORT": "0", "DATA_DIR": str(self.folder / "data"), "PYTHONPATH": str(ROOT)}
        proxied = {
            "HTTP_PROXY": self.proxy.url,
            "http_proxy": self.proxy.url,
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }
        value = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"services.{service}", stdout=output, stderr=output, cwd=self.folder,
                env={**value, **values, **proxied, **environ},
            )  # fmt: skip
        started = Running(service, process, log, 0)
        self.running.append(started)

        def listening() -> int:
            assert process.returncode is None, log.read_text()
            return next(
                (int(record["port"]) for record in started.records() if record["event"] == "listening"), 0
            )

        started.port = await until(listening)
        ports = [record["grpc_port"] for record in started.records() if "grpc_port" in record]
        started.grpc_port = int(ports[0]) if ports else 0
        self.proxy.ports[service].append(started.port)
        return started

    def forget(self, running: Running) -> None:
        """Tell the proxy that a process is gone."""
        self.proxy.ports[running.service].remove(running.port)

    async def call(
        self, to: Running, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request, straight to a process."""
        async with self.session.request(method, to.url + path, json=body, headers=headers) as response:
            text = await response.text()
            return Reply(response.status, response.headers, json.loads(text) if text else None)

    async def order(self, to: Running, key: str, items: dict[str, int], user: str = "ada") -> Reply:
        """Place an order."""
        lines = [{"productId": product, "quantity": quantity} for product, quantity in items.items()]
        return await self.call(
            to, "POST", "/api/orders", {"userId": user, "items": lines}, {"Idempotency-Key": key}
        )

    async def stock(self, inventory: Running, product: str) -> dict[str, int]:
        """What there is of a product."""
        reply = await self.call(inventory, "GET", f"/api/inventory/{product}")
        assert reply.status == 200, reply
        return {name: reply.body[name] for name in ("onHand", "reserved", "available")}

    async def set_stock(self, inventory: Running, product: str, on_hand: int) -> None:
        """Put so many on the shelf."""
        reply = await self.call(inventory, "PUT", f"/api/inventory/{product}", {"onHand": on_hand})
        assert reply.status == 200, reply

    async def close(self) -> None:
        """Stop what still runs."""
        for running in self.running:
            try:
                await running.stop()
            except TimeoutError:
                await running.kill()
