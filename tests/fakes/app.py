"""A test application for a sidecar: it echoes, fails, delays, streams and counts on request.

`python -m tests.fakes.app --port 0 --name orders` prints one line of JSON, `{"name", "port", "pid"}`, once it
listens, so port 0 is safe. Without `--port` it uses `PORT`, so it can be the command of an application's
service. Unknown paths are echoed too, which makes rewrites visible.

```
any  /echo                        replies {"name","method","path","query","headers","body_len"}
any  /status/CODE                 replies with that status
any  /fail?rate=0.5&code=503      fails at that rate: seeded random, or &pattern=alternate (every 1/rate-th)
any  /once/ID                     503 for the first request with this ID, then 200
any  /delay?ms=3000               replies after that time
any  /switch/NAME                 replies as set by POST /switches/NAME/CODE?ms=MS,MS (default: 200 at once);
                                  each delay is for one request, the last one for all further requests
GET  /stream?seconds=60&every=0.2 numbered lines, one every `every` seconds, then "end N"
GET  /events?count=5&every=0.1    server-sent events, numbered
GET  /ws                          a WebSocket that echoes messages
GET  /big?mb=40                   that many megabytes
any  /stall?seconds=25            replies after that time without reading the request body
GET  /count                       {"METHOD /path": n} since the start or the last reset
POST /reset                       resets the counts and the random seed
GET  /keys                        what PUT /keys stored last, 404 before
GET  /health/ready                200; after POST /health/fail 503, until POST /health/ok
```
Every response has the header `x-served-by: NAME`. On SIGTERM it accepts no more connections, finishes
requests in flight (at most `--grace` seconds) and exits 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web

SWITCHES = "/switches/"
UNCOUNTED = frozenset({"/count", "/reset", "/health/ready", "/health/fail", "/health/ok"})


class FakeApp:
    """The state of one application: its counts, its seeded failures and its readiness."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.seed = seed
        self.ready = True
        self.switches: dict[str, tuple[int, list[float]]] = {}
        self.keys = b""
        self.reset_state()

    def reset_state(self) -> None:
        """Reset the counts and the random seed."""
        self.counts: Counter[str] = Counter()
        self.random = random.Random(self.seed)  # noqa: S311  repeatable failures, not a secret
        self.failure_share = 0.0

    def fails(self, rate: float, pattern: str) -> bool:
        """Whether the next request fails."""
        if pattern != "alternate":
            return self.random.random() < rate
        self.failure_share += rate
        if self.failure_share < 1:
            return False
        self.failure_share -= 1
        return True

    def application(self) -> web.Application:
        """The aiohttp application with all routes."""

        @web.middleware
        async def count(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if request.path not in UNCOUNTED and not request.path.startswith(SWITCHES):
                self.counts[f"{request.method} {request.path}"] += 1
            return await handler(request)

        async def add_name(_: web.Request, response: web.StreamResponse) -> None:
            response.headers["x-served-by"] = self.name

        app = web.Application(middlewares=[count], client_max_size=64 * 1024 * 1024)
        app.on_response_prepare.append(add_name)
        app.router.add_get("/count", self.count)
        app.router.add_post("/reset", self.reset)
        app.router.add_get("/health/ready", self.health)
        app.router.add_post("/health/{state:ok|fail}", self.set_health)
        app.router.add_get("/keys", self.get_keys)
        app.router.add_put("/keys", self.put_keys)
        app.router.add_get("/stream", self.stream)
        app.router.add_post(SWITCHES + "{name}/{code:[1-5][0-9][0-9]}", self.set_switch)
        app.router.add_route("*", "/switch/{name}", self.switch)
        app.router.add_get("/events", self.events)
        app.router.add_get("/ws", self.websocket)
        app.router.add_get("/big", self.big)
        app.router.add_route("*", "/stall", self.stall)
        app.router.add_route("*", "/status/{code:[1-5][0-9][0-9]}", self.status)
        app.router.add_route("*", "/fail", self.fail)
        app.router.add_route("*", "/once/{id}", self.once)
        app.router.add_route("*", "/delay", self.delay)
        app.router.add_route("*", "/{path:.*}", self.echo)
        return app

    async def echo(self, request: web.Request) -> web.Response:
        """The request as JSON, headers by lower-case name (the last value if repeated)."""
        body = await request.read()
        return web.json_response(
            {
                "name": self.name,
                "method": request.method,
                "path": request.path,
                "query": request.query_string,
                "headers": {key.lower(): value for key, value in request.headers.items()},
                "body_len": len(body),
            }
        )

    async def status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["code"]), text=self.name)

    async def fail(self, request: web.Request) -> web.Response:
        await request.read()
        query = request.query
        failed = self.fails(float(query.get("rate", "0.5")), query.get("pattern", "random"))
        return web.Response(status=int(query.get("code", "503")) if failed else 200, text=self.name)

    async def once(self, request: web.Request) -> web.Response:
        first = self.counts[f"{request.method} {request.path}"] == 1
        return web.Response(status=503 if first else 200, text=self.name)

    async def delay(self, request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query.get("ms", "1000")) / 1000)
        return web.Response(text=self.name)

    async def set_switch(self, request: web.Request) -> web.Response:
        delays = [float(ms) / 1000 for ms in request.query.get("ms", "0").split(",")]
        self.switches[request.match_info["name"]] = (int(request.match_info["code"]), delays)
        return web.json_response({})

    async def switch(self, request: web.Request) -> web.Response:
        code, delays = self.switches.get(request.match_info["name"], (200, [0.0]))
        await asyncio.sleep(delays.pop(0) if len(delays) > 1 else delays[0])
        return web.Response(status=code, text=self.name)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        seconds, every = (
            float(request.query.get(key, default)) for key, default in (("seconds", 60), ("every", 0.2))
        )
        response = web.StreamResponse(headers={"content-type": "text/plain"})
        await response.prepare(request)
        chunks = round(seconds / every)
        for number in range(chunks):
            await response.write(f"{number}\n".encode())
            await asyncio.sleep(every)
        await response.write(f"end {chunks}\n".encode())
        await response.write_eof()
        return response

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(int(request.query.get("count", "5"))):
            await response.write(f"id: {number}\ndata: {self.name}\n\n".encode())
            await asyncio.sleep(float(request.query.get("every", "0.1")))
        await response.write_eof()
        return response

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is web.WSMsgType.TEXT:
                await socket.send_str(f"{self.name}: {message.data}")
        return socket

    async def big(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(int(request.query.get("mb", "40"))):
            await response.write(bytes(1 << 20))
        await response.write_eof()
        return response

    async def stall(self, request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query.get("seconds", "25")))
        return web.Response(text=self.name)

    async def get_keys(self, _: web.Request) -> web.Response:
        return web.Response(body=self.keys, content_type="application/json", status=200 if self.keys else 404)

    async def put_keys(self, request: web.Request) -> web.Response:
        self.keys = await request.read()
        return web.json_response({})

    async def count(self, _: web.Request) -> web.Response:
        return web.json_response(self.counts)

    async def reset(self, _: web.Request) -> web.Response:
        self.reset_state()
        return web.json_response({})

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"status": "ready" if self.ready else "not ready"}, status=200 if self.ready else 503
        )

    async def set_health(self, request: web.Request) -> web.Response:
        self.ready = request.match_info["state"] == "ok"
        return web.json_response({"ready": self.ready})


async def serve(name: str, port: int, seed: int, grace: float) -> None:
    """Listen on loopback, print the port, and serve until SIGTERM or SIGINT."""
    runner = web.AppRunner(FakeApp(name, seed).application(), access_log=None, shutdown_timeout=grace)
    await runner.setup()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=1024)
    await site.start()
    bound_port = runner.addresses[0][1]
    print(json.dumps({"name": name, "port": bound_port, "pid": os.getpid()}), flush=True)  # noqa: T201
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.app")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "0")))
    parser.add_argument("--name", default=os.environ.get("INSTANCE", "app"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--grace", type=float, default=10.0)
    options = parser.parse_args()
    asyncio.run(serve(options.name, options.port, options.seed, options.grace))


if __name__ == "__main__":
    main()
