"""An app that calls with libraries that read proxy settings from the environment, and tells the results."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from typing import Any

import aiohttp
import grpc
import requests

URL = "http://back/echo"


def by_curl(*options: str) -> dict[str, Any]:
    """The headers that the app saw, by curl."""
    return dict(json.loads(subprocess.check_output(["/usr/bin/env", "curl", "-s", *options, URL])))


async def by_aiohttp() -> dict[str, Any]:
    """The same by aiohttp."""
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(URL) as response:
        return dict(await response.json())


def by_urllib() -> dict[str, Any]:
    """The same by the standard library."""
    with urllib.request.urlopen(URL) as response:
        return dict(json.load(response))


def by_grpc() -> str:
    """The status of a call through CONNECT."""
    with grpc.insecure_channel("echo") as channel:
        channel.unary_unary("/fake.Echo/Echo", None, None)(b"{}", timeout=20)
    return "OK"


sys.stdout.write(
    json.dumps(
        {
            "environment": {name: value for name, value in os.environ.items() if "proxy" in name.lower()},
            "requests": requests.get(URL, timeout=20).json(),
            "aiohttp": asyncio.run(by_aiohttp()),
            "urllib": by_urllib(),
            "curl": by_curl(),
            "curl through CONNECT": by_curl("--proxytunnel"),
            "grpc": by_grpc(),
        }
    )
)
