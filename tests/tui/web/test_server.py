"""The dashboard in a browser: protected by the token, loopback only, no processes left behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
from aiohttp import web

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
    async with fake_admin_api() as api, serve_dashboard(dashboard_env(folder, api.endpoint)) as server:
        yield server


def dashboard_env(folder: Path, endpoint: ApiEndpoint) -> dict[str, str]:
    """The environment by which a dashboard locates an admin API."""
    (folder / "token").write_text(endpoint.token)
    return {"MESH_API": endpoint.url, "MESH_TOKEN_FILE": str(folder / "token")}


async def test_the_page_works_and_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    async with pages(tmp_path) as server, open_browser() as browser:
        await browser.page.goto(server.url)
        await browser.page.fill("#token", "not the token")
        await browser.page.click("button")
        await browser.page.wait_for_selector(".error")
        await browser.sign_in(server.url, TOKEN)
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
        async with serve_dashboard(environment) as server, open_browser() as browser:
            await browser.sign_in(server.url, mesh.token)
            await browser.wait_for_text("rev 1")
            await browser.press("4")
            await browser.wait_for_text("attempts: 5")
            await browser.press("e")
            await browser.wait_for_text("preview the change")
            await browser.press("PageDown", "ArrowUp", "End", "x", "Control+s")
            await browser.wait_for_text("spec.attempts")
            await browser.press("e")
            await browser.wait_for_text("preview the change")
            assert "× line 9: spec.attempts" in browser.text()
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
    async with pages(tmp_path) as server, open_browser() as browser:
        await browser.sign_in(server.url, TOKEN)
        await wait_until(server.children, "a child for the page")
        first = server.children()
        await browser.page.goto("about:blank")
        await wait_until(lambda: not any(alive(each) for each in first), "the end of a page's child")
        await browser.page.goto(server.url)
        await browser.page.wait_for_selector("body.-first-byte", timeout=SEEN)
        second = server.children()
        assert second
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
        await wait_until(
            lambda: not any(alive(each) for each in second), "the end of a killed server's child"
        )


def alive(process: psutil.Process) -> bool:
    """Whether a process is running."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_without_a_session_nothing_of_the_mesh_is_served(tmp_path: Path) -> None:
    async with pages(tmp_path) as server, aiohttp.ClientSession() as http:
        for path in ("/", "/sign-in", "/terminal.js", "/sign-in.js"):
            async with http.get(server.url + path) as answer:
                assert answer.status == 200, path
                assert TOKEN not in await answer.text()
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["Referrer-Policy"] == "no-referrer"
        origin = {"Origin": server.url}
        for protocols in (
            "",
            "mesh-dash",
            "mesh-dash, session.",
            "mesh-dash, session.guess",
            f"session.{TOKEN}",
        ):
            headers = {**origin, "Sec-WebSocket-Protocol": protocols} if protocols else origin
            async with http.get(f"{server.url}/ws", headers=headers) as answer:
                assert answer.status == 401, protocols
        for headers in ({"Host": "mesh.evil"}, {"Origin": "http://evil"}, {"Origin": "null"}):
            async with http.post(f"{server.url}/sign-in", data={"token": TOKEN}, headers=headers) as answer:
                assert answer.status == 403, headers
        async with http.post(f"{server.url}/sign-in", data={"token": TOKEN[:-1]}) as answer:
            assert answer.status == 401
            assert "session" not in await answer.json()
        assert not server.children()


async def test_a_session_opens_a_socket_and_is_no_cookie(tmp_path: Path) -> None:
    async with pages(tmp_path) as server, aiohttp.ClientSession() as http:
        async with http.post(f"{server.url}/sign-in", data={"token": TOKEN}) as answer:
            assert "Set-Cookie" not in answer.headers
            session = (await answer.json())["session"]
        assert len(session) >= 43
        assert session != TOKEN
        protocols = ("mesh-dash", f"session.{session}")
        for refused in ({}, {"Origin": "http://evil"}, {"Origin": f"{server.url}1"}):
            headers = {**refused, "Sec-WebSocket-Protocol": ", ".join(protocols)}
            async with http.get(f"{server.url}/ws", headers=headers) as answer:
                assert answer.status == 403, refused
        cookies = {"Origin": server.url, "Cookie": f"mesh_dash={session}; session={session}"}
        async with http.get(f"{server.url}/ws", headers=cookies) as answer:
            assert answer.status == 401
        async with http.get(f"{server.url}/ws?session={session}", headers={"Origin": server.url}) as answer:
            assert answer.status == 401
        async with http.ws_connect(f"{server.url}/ws", protocols=protocols, origin=server.url) as socket:
            assert socket.protocol == "mesh-dash"
            assert (await socket.receive(60)).type is aiohttp.WSMsgType.BINARY


async def test_the_link_on_standard_output_signs_in_once(tmp_path: Path) -> None:
    async with pages(tmp_path) as server, open_browser() as browser, aiohttp.ClientSession() as http:
        await browser.page.goto(server.link)
        await browser.page.wait_for_selector("body.-first-byte", timeout=SEEN)
        await browser.wait_for_text("rev 41")
        code = urlsplit(server.link).fragment
        assert len(code) >= 43
        assert code not in browser.page.url
        assert not [url for url in browser.requested if code in url]
        async with http.post(f"{server.url}/sign-in", data={"code": code}) as answer:
            assert answer.status == 401
            assert "this link was used" in (await answer.json())["error"]
        stored = await browser.page.evaluate("[JSON.stringify(sessionStorage), document.cookie]")
        assert "mesh-session" in stored[0]
        assert stored[1] == ""


async def test_other_ports_of_the_host_receive_no_secret(tmp_path: Path) -> None:
    received: list[str] = []

    async def app(request: web.Request) -> web.Response:
        received.extend(
            [str(request.rel_url), *(f"{name}: {value}" for name, value in request.headers.items())]
        )
        return web.Response(text="<html></html>", content_type="text/html")

    neighbour = web.Application()
    neighbour.router.add_get("/{path:.*}", app)
    runner = web.AppRunner(neighbour)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with pages(tmp_path) as server, open_browser() as browser:
        await browser.sign_in(server.url, TOKEN)
        session = await browser.page.evaluate("sessionStorage.getItem('mesh-session')")
        await browser.page.evaluate(f"location.href = 'http://127.0.0.1:{port}/page'")
        await browser.page.wait_for_url(f"http://127.0.0.1:{port}/page", timeout=SEEN)
        assert await browser.page.evaluate("sessionStorage.length") == 0
    await runner.cleanup()
    text = "\n".join(received)
    assert session not in text
    assert TOKEN not in text
    assert "cookie:" not in text.lower()
    assert f"referer: {server.url}" not in text.lower()


async def test_wrong_tokens_do_not_delay_a_right_one(tmp_path: Path) -> None:
    async with pages(tmp_path) as server, aiohttp.ClientSession() as http:

        async def sign_in(token: str) -> int:
            async with http.post(f"{server.url}/sign-in", data={"token": token}) as answer:
                return answer.status

        wrong = [asyncio.create_task(sign_in("wrong")) for _ in range(40)]
        await asyncio.wait(wrong, return_when=asyncio.FIRST_COMPLETED)
        assert await sign_in(TOKEN) == 200
        statuses = await asyncio.gather(*wrong)
        assert set(statuses) == {401, 429}
        assert statuses.count(401) < 40
