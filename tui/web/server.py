"""`mesh dash --web`: the dashboard's pages and the sockets to its children, behind the mesh's token.

The token is shown once, in the body of a form; the browser then carries a random cookie (HttpOnly, SameSite
Strict) that counts for this server alone. Host and Origin are checked on every request, so that neither a
rebound name nor a page of another site reaches it; the socket is refused without both. By its
Content-Security-Policy the browser loads nothing from elsewhere. It speaks plain HTTP: loopback, or a tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import resources
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from textual_serve.server import Server, to_int

from meshwright.control_plane.api.auth import RequestGuard, tokens_equal
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.errors import MeshError
from meshwright.tui.web import pages
from meshwright.tui.web.dashboard_process import DashboardProcess
from meshwright.tui.web.sessions import COOKIE, SESSION_SECONDS, BrowserSessions

log = structlog.get_logger(__name__)

MAX_DASHBOARDS = 8
"""Dashboards at once: each is a process of its own of some 70 MB."""

MESSAGE_LIMIT = 256 * 1024
"""Bytes of one message from a browser: a paste."""

FORM_LIMIT = 16 * 1024
"""Bytes of a form."""

WRONG_TOKEN_DELAY = 0.5
"""Seconds that the answer to a wrong token takes."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DashboardServer(Server):
    """textual-serve's server with pages, doors and children of ours."""

    def __init__(self, locate: Callable[[], ApiEndpoint], argv: Sequence[str], names: Iterable[str]) -> None:
        super().__init__(" ".join(argv), statics_path=str(resources.files("textual_serve") / "static"))
        self._locate = locate
        self._argv = tuple(argv)
        self._guard = RequestGuard("", frozenset(names))
        self._sessions = BrowserSessions()
        self._dashboards: set[DashboardProcess] = set()
        self._sign_in_slots = asyncio.Semaphore(4)

    def application(self) -> web.Application:
        """All routes; every request passes the guard."""
        app = web.Application(middlewares=[self._authenticate], client_max_size=FORM_LIMIT)
        app.router.add_get("/", self._terminal, name="index")
        app.router.add_get("/keys.js", self._focus_script, name="keys")
        app.router.add_get("/sign-in", self._sign_in_form, name="ask")
        app.router.add_post("/sign-in", self._sign_in, name="enter")
        app.router.add_get("/ws", self.handle_websocket, name="websocket")
        app.router.add_get("/download/{key}", self.handle_download, name="download")
        app.router.add_static("/static", self.statics_path, name="static")
        app.on_shutdown.append(self._stop_dashboards)
        return app

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """By a name of ours, from no foreign page, signed in but for the page where one signs in."""
        refusal = self._guard.refusal(request.headers, public=True)
        socket = request.path == "/ws"
        if refusal or (socket and "Origin" not in request.headers):
            log.warning("refused", reason=refusal or "origin")
            return web.Response(
                status=403, text="this is not the address of this dashboard", headers=pages.HEADERS
            )
        if request.path != "/sign-in" and not self._signed_in(request):
            if request.path != "/":
                return web.Response(status=401, text="sign in first", headers=pages.HEADERS)
            return web.HTTPSeeOther("/sign-in", headers=pages.HEADERS)
        answer = await handler(request)
        if not answer.prepared:
            answer.headers.update(pages.HEADERS)
        return answer

    def _signed_in(self, request: web.Request) -> bool:
        return self._sessions.is_valid(request.cookies.get(COOKIE, ""), time.monotonic())

    async def _focus_script(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=pages.FOCUS_SCRIPT, content_type="text/javascript")

    async def _sign_in_form(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=pages.sign_in_page(), content_type="text/html")

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        """The token for a cookie; a wrong one costs time."""
        given = str((await request.post()).get("token", "")).strip()
        async with self._sign_in_slots:
            try:
                token = (await asyncio.to_thread(self._locate)).token
            except MeshError as error:
                return web.Response(status=503, text=pages.sign_in_page(str(error)), content_type="text/html")
            if not tokens_equal(given, token):
                log.warning("a wrong token was shown", peer=request.remote)
                await asyncio.sleep(WRONG_TOKEN_DELAY)
                wrong = pages.sign_in_page("this is not the token of this mesh")
                return web.Response(status=401, text=wrong, content_type="text/html")
        number = secrets.token_urlsafe(32)
        self._sessions.start(number, time.monotonic())
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(
            COOKIE,
            number,
            httponly=True,
            samesite="Strict",
            secure=_is_https(request),
            path="/",
            max_age=int(SESSION_SECONDS),
        )
        return answer

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        size = max(8, min(40, to_int(request.query.get("fontsize", "16"), 16)))
        scheme = "wss" if _is_https(request) else "ws"
        page = pages.terminal_page(f"{scheme}://{request.host}/ws", size)
        return web.Response(text=page, content_type="text/html")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """A dashboard for as long as the browser listens."""
        if len(self._dashboards) >= MAX_DASHBOARDS:
            raise web.HTTPServiceUnavailable(text=f"there are {MAX_DASHBOARDS} dashboards already: close one")
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=MESSAGE_LIMIT)

        async def close() -> None:
            await socket.close()

        child = DashboardProcess(
            self.command,
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        child.argv = self._argv
        self._dashboards.add(child)
        width, height = (to_int(request.query.get(name, ""), 80) for name in ("width", "height"))
        try:
            await socket.prepare(request)
            await child.start(max(20, min(500, width)), max(5, min(300, height)))
            await self._process_messages(socket, child)
        except (ConnectionError, AssertionError, ValueError, KeyError, IndexError, TypeError) as error:
            log.warning("a browser's message was wrong", error=type(error).__name__)
        finally:
            await child.stop()
            self._dashboards.discard(child)
            with contextlib.suppress(ConnectionError):
                await socket.close()
        return socket

    async def _stop_dashboards(self, _app: web.Application) -> None:
        await asyncio.gather(*(child.stop() for child in tuple(self._dashboards)))


def _is_https(request: web.Request) -> bool:
    """Whether the browser speaks TLS, to a proxy before this server."""
    return request.headers.get("X-Forwarded-Proto", "") == "https"


async def serve(server: DashboardServer, *, bind: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is told the address. Raises OSError when it cannot listen."""
    runner = web.AppRunner(server.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ending.set)
    try:
        site = web.TCPSite(runner, bind, port)
        await site.start()
        host = urlsplit(site.name).netloc.rpartition(":")[0]
        ready(f"http://{host}:{runner.addresses[0][1]}/")
        await ending.wait()
    finally:
        await runner.cleanup()
