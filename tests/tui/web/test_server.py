"""The dashboard in a browser: protected by the token, loopback only, no processes left behind."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil

from meshwright.control_plane.api.calls import ChangeOptions, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from tests.fakes.admin_api import TOKEN, fake_admin_api
from tests.fakes.admin_server import fake_mesh
from tests.tui.waiting import wait_until
from tests.tui.web.browser import SEEN, DashboardServerProcess, open_browser, serve_dashboard

RETRY = {
    "apiVersion": "meshwright.io/v1",
    "kind": "Retry",
    "metadata": {"name": "again"},
    "spec": {"targetRefs": [{"kind": "Service", "name": "orders"}], "attempts": 5},
}


@asynccontextmanager
async def pages(folder: Path) -> AsyncIterator[DashboardServerProcess]:
    """A web server on a scenario."""
    async with fake_admin_api() as api, serve_dashboard(dashboard_env(folder, api.endpoint)) as web:
        yield web


def dashboard_env(folder: Path, endpoint: ApiEndpoint) -> dict[str, str]:
    """The environment by which a dashboard locates an admin API."""
    (folder / "token").write_text(endpoint.token)
    return {"MESH_API": endpoint.url, "MESH_TOKEN_FILE": str(folder / "token")}


async def test_the_page_works_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    async with pages(tmp_path) as web, open_browser() as browser:
        await browser.page.goto(web.url)
        await browser.page.fill("#token", "not the token")
        await browser.page.click("button")
        await browser.page.wait_for_selector(".error")
        await browser.sign_in(web.url, TOKEN)
        await browser.wait_for_text("rev 41")
        await browser.press("2")
        await browser.wait_for_text("99.90")  # of storefront; only the table says so
        await browser.press("Enter")
        await browser.wait_for_text("Services › inventory")
    assert len({urlsplit(url).path for url in browser.requested}) > 3
    assert {urlsplit(url).hostname for url in browser.requested} == {"127.0.0.1"}


async def test_a_policy_is_edited_validated_and_applied_in_a_browser(tmp_path: Path) -> None:
    async with fake_mesh(tmp_path) as mesh, Client(mesh.endpoint) as client:

        async def attempts() -> int:
            (document,) = (await client.policies("Retry", "again")).documents
            return int(document["spec"]["attempts"])

        await client.apply([SourcedDocument(RETRY)], ChangeOptions(message="first"))
        environment = {
            **dashboard_env(tmp_path, mesh.endpoint),
            "EDITOR": "an-editor-that-a-browser-cannot-show",
        }
        async with serve_dashboard(environment) as web, open_browser() as browser:
            await browser.sign_in(web.url, mesh.token)
            await browser.wait_for_text("rev 1")
            await browser.press("4")
            await browser.wait_for_text("attempts: 5")
            await browser.press("e")
            await browser.wait_for_text("preview the change")
            await browser.press("PageDown", "ArrowUp", "End", "x", "Control+s")
            await browser.wait_for_text("spec.attempts")
            await browser.press("e")
            await browser.wait_for_text("preview the change")
            assert "✖ line 9: spec.attempts" in browser.text()
            await browser.press("End", "Backspace", "Backspace", "3", "Control+s")
            await browser.wait_for_text("+  attempts: 3")
            assert await attempts() == 5, "nothing is changed before it is agreed to"
            await browser.press("y")
            await browser.wait_for_text("rev 2")
            await browser.wait_for_text("attempts: 3")
            assert await attempts() == 3
            newest = (await client.history())[0]
            assert (newest.revision, newest.changed[0].name) == (2, "again")


async def test_dashboards_exit_with_their_page_and_with_the_server(tmp_path: Path) -> None:
    async with pages(tmp_path) as web, open_browser() as browser:
        await browser.sign_in(web.url, TOKEN)
        await wait_until(web.children, "a child for the page")
        first = web.children()
        await browser.page.goto("about:blank")
        await wait_until(lambda: not any(alive(each) for each in first), "the end of a page's child")
        await browser.page.goto(web.url)
        await browser.page.wait_for_selector("body.-first-byte", timeout=SEEN)
        second = web.children()
        assert second
        web.process.send_signal(signal.SIGKILL)
        await web.process.wait()
        await wait_until(
            lambda: not any(alive(each) for each in second), "the end of a killed server's child"
        )


def alive(process: psutil.Process) -> bool:
    """Whether a process is running."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_without_a_session_every_path_is_refused(tmp_path: Path) -> None:
    async with pages(tmp_path) as web, aiohttp.ClientSession() as http:
        for path in ("/", "/ws", "/static/js/textual.js", "/keys.js", "/download/x"):
            async with http.get(web.url + path, allow_redirects=False) as answer:
                assert answer.status in (303, 401, 403), path
        sign_in = f"{web.url}/sign-in"
        for headers in ({"Host": "mesh.evil"}, {"Origin": "http://evil"}, {"Origin": "null"}):
            async with http.post(sign_in, data={"token": TOKEN}, headers=headers) as answer:
                assert answer.status == 403, headers
        async with http.post(sign_in, data={"token": TOKEN[:-1]}, allow_redirects=False) as answer:
            assert answer.status == 401
            assert "Set-Cookie" not in answer.headers
        assert not web.children()


async def test_the_session_cookie_is_http_only_and_not_the_token(tmp_path: Path) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with pages(tmp_path) as web, aiohttp.ClientSession(cookie_jar=jar) as http:
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
