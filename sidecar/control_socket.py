"""The agent's control socket: one JSON object a line in, one out, for who may open the socket (its owner)."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

MAX_REQUEST_BYTES = 4096
"""Bytes of a request."""

ControlRequestHandler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Answers one request; raises ValueError with what is wrong with it."""


async def serve_control_socket(path: Path, answer: ControlRequestHandler) -> asyncio.Server:
    """Listen at `path` (mode 0600); its folder must be private. The caller closes what is returned."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await _handle_line(line, answer)).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError):
            # A line over the limit, or a caller who left: nobody to answer.
            pass
        finally:
            writer.close()

    listener = listen_unix(path)
    return await asyncio.start_unix_server(talk, sock=listener, limit=MAX_REQUEST_BYTES)


def listen_unix(path: Path) -> socket.socket:
    """A socket at `path` for its owner alone (mode 0600)."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


async def _handle_line(line: bytes, answer: ControlRequestHandler) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a request is a JSON object")
        return await answer(request)
    except ValueError as error:
        return {"error": str(error)}
