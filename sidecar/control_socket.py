"""The agent's control socket: one JSON object per line in each direction, for the socket's owner only."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Bytes of a request: more than a workload with its whole environment has."""

ControlRequestHandler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Handles one request. Raises ValueError when the request is wrong."""


async def serve_control_socket(path: Path, handle: ControlRequestHandler) -> asyncio.Server:
    """Listen at `path` (mode 0600) in a private folder. The caller closes the server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _handle_line(line, handle)).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            # The line was too long, or the client disconnected.
            pass
        finally:
            writer.close()

    return await asyncio.start_unix_server(serve, sock=listen_unix(path), limit=MAX_REQUEST_BYTES)


def listen_unix(path: Path) -> socket.socket:
    """A bound unix socket that only its owner can open (mode 0600)."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


async def _handle_line(line: bytes, handle: ControlRequestHandler) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a request is a JSON object")
        return await handle(request)
    except ValueError as error:
        return {"error": str(error)}
