"""The dashboard in a real headless browser: behind the token, loopback only, and gone when its server is."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
from playwright.async_api import Page, async_playwright

from tests.fakes.admin_api import TOKEN, fake_admin
from tests.tui.walk import until

ROOT = Path(__file__).resolve().parents[2]
SEEN = 60_000.0
"""Milliseconds for what a browser shows within one second where nothing else runs."""


@dataclass
class Served:
    """`mesh dash --web` on a scenario."""

    url: str
    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)

    def children(self) -> list[psutil.Process]:
        """The dashboards that run behind it."""
        return psutil.Process(self.process.pid).children(recursive=True)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """Start it on a free port; stop it at the end."""
    async with fake_admin() as api:
        (folder / "token").write_text(TOKEN)
        environment = {
            **os.environ,
            "MESH_API": api.endpoint.url,
            "MESH_TOKEN_FILE": str(folder / "token"),
            "PYTHONPATH": str(ROOT),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli", "dash", "--web", "--port", "0"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        async with asyncio.timeout(90):
            line = (await process.stdout.readline()).decode()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        try:
            yield Served(found[0], process)
        finally:
            if process.returncode is None:
                process.terminate()
                async with asyncio.timeout(60):
                    await process.wait()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of Debian's Chromium without a screen."""
    chromium = shutil.which("chromium")
    assert chromium, "the Debian package chromium is needed"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield await browser.new_page(viewport={"width": 1200, "height": 760})
        await browser.close()


async def sign_in(page: Page, url: str) -> None:
    """Show the token and wait for the terminal."""
    await page.goto(url)
    await page.fill("#token", TOKEN)
    await page.click("button")
    await page.wait_for_selector("body.-first-byte", timeout=SEEN)


async def test_a_browser_walks_through_it_and_loads_nothing_from_elsewhere(
    page: Page, tmp_path: Path
) -> None:
    asked: list[str] = []
    drawn: list[bytes] = []
    page.on("request", lambda request: asked.append(request.url))

    def listen(socket: object) -> None:
        asked.append(socket.url)  # type: ignore[attr-defined]  # playwright's WebSocket
        socket.on("framereceived", lambda data: drawn.append(data if isinstance(data, bytes) else b""))  # type: ignore[attr-defined]

    page.on("websocket", listen)

    def shown(words: str) -> bool:
        return words in b"".join(drawn).decode("utf-8", "replace")

    async with served(tmp_path) as web:
        await page.goto(web.url)
        await page.fill("#token", "not the token")
        await page.click("button")
        await page.wait_for_selector(".wrong")
        await sign_in(page, web.url)
        await until(lambda: shown("rev 41"), "the first picture")
        await page.keyboard.press("2")
        await until(lambda: shown("retr/s") and shown("1/2"), "the services")
        await page.keyboard.press("Enter")
        await until(lambda: shown("Services › inventory"), "the failing service")
        await until(lambda: shown("CircuitBreaker inventory-limits"), "its policies")
    assert len({urlsplit(url).path for url in asked}) > 3
    assert {urlsplit(url).hostname for url in asked} == {"127.0.0.1"}


async def test_its_children_end_with_their_page_and_with_their_server(page: Page, tmp_path: Path) -> None:
    async with served(tmp_path) as web:
        await sign_in(page, web.url)
        await until(web.children, "a child for the page")
        first = web.children()
        await page.goto("about:blank")
        await until(lambda: not any(alive(each) for each in first), "the end of a page's child")
        await page.goto(web.url)
        await page.wait_for_selector("body.-first-byte", timeout=SEEN)
        second = web.children()
        assert second
        web.process.send_signal(signal.SIGKILL)
        await web.process.wait()
        await until(lambda: not any(alive(each) for each in second), "the end of a killed server's child")


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_without_the_token_nothing_is_shown(tmp_path: Path) -> None:
    async with served(tmp_path) as web, aiohttp.ClientSession() as http:
        for path in ("/", "/ws", "/static/js/textual.js", "/keys.js", "/download/x"):
            async with http.get(web.url + path, allow_redirects=False) as answer:
                assert answer.status in (303, 401, 403), path
        for headers in ({"Host": "mesh.evil"}, {"Origin": "http://evil"}, {"Origin": "null"}):
            async with http.post(f"{web.url}/sign-in", data={"token": TOKEN}, headers=headers) as answer:
                assert answer.status == 403, headers
        async with http.post(
            f"{web.url}/sign-in", data={"token": TOKEN[:-1]}, allow_redirects=False
        ) as answer:
            assert answer.status == 401
            assert "Set-Cookie" not in answer.headers
        assert not web.children()


async def test_the_cookie_is_no_token_and_no_script_reads_it(tmp_path: Path) -> None:
    async with (
        served(tmp_path) as web,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
    ):
        async with http.post(f"{web.url}/sign-in", data={"token": TOKEN}, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"]
        assert TOKEN not in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        async with http.get(web.url) as answer:
            page = await answer.text()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert TOKEN not in page
        assert not re.findall(r'(?:src|href)="(?!/|data:)', page)
        async with http.get(f"{web.url}/ws") as answer:
            assert answer.status == 403, "a socket without an Origin"
        async with http.get(f"{web.url}/ws", headers={"Origin": "http://evil"}) as answer:
            assert answer.status == 403
        assert not web.children()
