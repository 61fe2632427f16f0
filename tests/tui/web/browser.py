"""`mesh dash --web` and a real headless browser: what the browser requests, receives and shows."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from playwright.async_api import Page, WebSocket, async_playwright

from tests.tui.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
SEEN = 60_000.0
"""Milliseconds for what a browser shows within one second on an idle host."""

ESCAPES = re.compile(r"\x1b\[[0-9;?$]*[A-Za-z]")


@dataclass
class DashboardServerProcess:
    """A web server of dashboards. `link` signs in once."""

    url: str
    process: asyncio.subprocess.Process
    link: str

    def children(self) -> list[psutil.Process]:
        """Its dashboard processes."""
        return psutil.Process(self.process.pid).children(recursive=True)


@asynccontextmanager
async def serve_dashboard(environment: Mapping[str, str]) -> AsyncIterator[DashboardServerProcess]:
    """Start a server on a free port; stop it at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meshwright.cli", "dash", "--web", "--port", "0"),
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    try:
        async with asyncio.timeout(90):
            line = (await process.stdout.readline()).decode()
        match = re.search(r"(http://127\.0\.0\.1:\d+)/#\S+", line)
        assert match, line
        yield DashboardServerProcess(match[1], process, match[0])
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(60):
                await process.wait()


@dataclass
class BrowserPage:
    """A page, the URLs that it requested, and the data that its terminal received."""

    page: Page
    requested: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)
    _mark: int = 0

    def __post_init__(self) -> None:
        self.page.set_default_timeout(SEEN)
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        self.requested.append(socket.url)
        socket.on("framereceived", self._take)

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self.drawn.append(data.decode("utf-8", "replace"))

    async def sign_in(self, url: str, token: str) -> None:
        """Sign in and wait for the terminal."""
        await self.page.goto(url)
        await self.page.fill("#token", token)
        await self.page.click("button")
        await self.page.wait_for_selector("body.-first-byte", timeout=SEEN)

    async def press(self, *keys: str) -> None:
        """Press keys; `text` then returns what was drawn since."""
        self._mark = len(self.drawn)
        for key in keys:
            await self.page.keyboard.press(key)

    async def wait_for_text(self, words: str, within: float = 60.0) -> None:
        """Wait until a text was drawn after the last keys."""
        await wait_until(lambda: words in self.text(), f"{words!r} in the browser", within)

    def text(self) -> str:
        """What was drawn after the last keys, without colours."""
        return ESCAPES.sub("", "".join(self.drawn[self._mark :]))


@asynccontextmanager
async def open_browser() -> AsyncIterator[BrowserPage]:
    """A page in headless Chromium from Debian."""
    chromium = shutil.which("chromium")
    assert chromium, "the Debian package chromium is needed"
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield BrowserPage(await started.new_page(viewport={"width": 1400, "height": 860}))
        await started.close()
