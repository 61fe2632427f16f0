"""A grpcio client of the service `fake.Echo` (tests/fakes/grpc_app.py), as an app beside a sidecar has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest

from tests.envoy.harness import Mesh


@asynccontextmanager
async def channel(mesh: Mesh, target: str = "", authority: str = "echo") -> AsyncIterator[grpc.aio.Channel]:
    """A channel as an application in `front` opens it.

    To `target` through CONNECT (grpc_proxy), or without a target to the port of the sidecar, by authority.
    """
    outbound = f"127.0.0.1:{mesh.ports('front-1')['outbound']}"
    options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
    if target:
        options += [("grpc.http_proxy", f"http://{outbound}")]
    else:
        options += [("grpc.default_authority", authority), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(target or outbound, options=options) as insecure_channel:
        yield insecure_channel


LOST_STATUS = "Internal error from Core"
"""What grpcio says if a call is refused while it writes: the status that came is lost."""


async def call(through: grpc.aio.Channel, method: str = "Echo", within: float = 20, **message: Any) -> Any:
    """The response to one call."""
    invoke = through.unary_unary(f"/fake.Echo/{method}", None, None)
    return json.loads(await invoke(json.dumps(message).encode(), timeout=within))


async def status(through: grpc.aio.Channel, **message: Any) -> grpc.StatusCode:
    """The status of one failing call."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call(through, **message)
    return failed.value.code()


async def messages(*texts: bytes) -> AsyncIterator[bytes]:
    """A stream of requests."""
    for text in texts:
        yield text


async def statuses(through: grpc.aio.Channel) -> dict[str, str]:
    """The status of a call of each kind."""
    calls: dict[str, Callable[[], Any]] = {
        "Echo": lambda: through.unary_unary("/fake.Echo/Echo", None, None)(b"{}", timeout=60),
        "Count": lambda: through.unary_unary("/fake.Echo/Count", None, None)(b"{}", timeout=60),
        "Stream": lambda: through.unary_stream("/fake.Echo/Stream", None, None)(
            b'{"seconds": 0.1, "every": 0.1}', timeout=60
        ),
        "Collect": lambda: through.stream_unary("/fake.Echo/Collect", None, None)(
            messages(b"a", b"b"), timeout=60
        ),
        "Both": lambda: through.stream_stream("/fake.Echo/Both", None, None)(
            messages(b"a", b"b"), timeout=60
        ),
    }
    return {name: await _outcome(begin) for name, begin in calls.items()}


async def _outcome(begin: Callable[[], Any]) -> str:
    """The status of a call, made again as long as grpcio lost it to its own write."""
    while True:
        response = begin()
        if hasattr(response, "read"):
            with suppress(grpc.aio.AioRpcError):
                assert [message async for message in response]
        code, detail = await response.code(), await response.details()
        if detail != LOST_STATUS:
            assert code is grpc.StatusCode.OK or "RBAC: access denied" in detail, (code, detail)
            return str(code.name)
