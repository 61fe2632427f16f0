"""`mesh dash --web`: serves the dashboard's pages and their WebSockets, protected by the mesh's token.

The pages hold nothing of the mesh. A browser exchanges the token, or the code in the link on standard output,
for a random session that is valid for this server only, and presents it when it opens the WebSocket (see
sessions.py). Host and Origin are checked on every request, against DNS rebinding and requests of other sites.
The Content-Security-Policy keeps the browser from loading anything from other hosts. The server speaks plain
HTTP: use it on loopback, or through a tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib import resources

import structlog
from aiohttp import web
from textual_serve.server import Server, to_int

from meshwright.control_plane.api.auth import RequestGuard, tokens_equal
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.open_files import raise_open_files_limit
from meshwright.control_plane.errors import MeshError
from meshwright.control_plane.http_listener import HttpListener, ListenerLimits
from meshwright.tui.web import pages
from meshwright.tui.web.dashboard_process import DashboardProcess
from meshwright.tui.web.sessions import (
    PROTOCOL,
    BrowserSessions,
    OneTimeCode,
    WrongTokenBrake,
    presented_session,
)

log = structlog.get_logger(__name__)

MAX_DASHBOARDS = 8
"""Concurrent dashboards; each is a process of about 70 MB."""

MESSAGE_LIMIT = 256 * 1024
"""Bytes of one message from a browser; large ones are pasted text."""

FORM_LIMIT = 16 * 1024
"""Bytes of the sign-in form."""

LIMITS = ListenerLimits(connections=128)
"""A browser opens about six; each dashboard holds one."""

WRONG_TOKEN_DELAY = 0.5
"""Seconds by which the response to a wrong token is delayed."""

_REFUSED = "this is not the token of this mesh"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DashboardServer(Server):
    """textual-serve's server with the dashboard's own pages, authentication and processes."""

    def __init__(self, locate: Callable[[], ApiEndpoint], argv: Sequence[str], names: Iterable[str]) -> None:
        super().__init__(" ".join(argv), statics_path=str(resources.files("textual_serve") / "static"))
        self._locate = locate
        self._argv = tuple(argv)
        self.listener = HttpListener("dashboard", LIMITS)
        self._guard = RequestGuard("", frozenset(names))
        self._sessions = BrowserSessions()
        self._dashboards: set[DashboardProcess] = set()
        self._brake = WrongTokenBrake()
        self.code = secrets.token_urlsafe(32)
        self._one_time = OneTimeCode(self.code, time.monotonic())

    def application(self) -> web.Application:
        """All routes, behind `_authenticate`. Only the WebSocket shows anything of the mesh."""
        app = web.Application(
            middlewares=[self.listener.middleware, self._authenticate], client_max_size=FORM_LIMIT
        )
        app.router.add_get("/", self._terminal, name="index")
        app.router.add_get("/terminal.js", self._terminal_script, name="terminal")
        app.router.add_get("/sign-in.js", self._sign_in_script, name="form")
        app.router.add_get("/sign-in", self._sign_in_form, name="ask")
        app.router.add_post("/sign-in", self._sign_in, name="enter")
        app.router.add_get("/ws", self.handle_websocket, name="websocket")
        app.router.add_static("/static", self.statics_path, name="static")
        app.on_shutdown.append(self._stop_dashboards)
        return app

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check Host and Origin, and the session of the WebSocket."""
        refusal = self._guard.refusal(request.headers, public=True)
        socket = request.path == "/ws"
        if refusal or (socket and "Origin" not in request.headers):
            self.listener.lines.warning(
                "request refused", request.remote or "unknown", reason=refusal or "origin"
            )
            return web.Response(
                status=403, text="this host is not an address of the dashboard", headers=pages.HEADERS
            )
        if socket and not self._signed_in(request):
            return web.Response(status=401, text="sign in first", headers=pages.HEADERS)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(pages.HEADERS)
        return response

    def _signed_in(self, request: web.Request) -> bool:
        session = presented_session(request.headers.get("Sec-WebSocket-Protocol", ""))
        return self._sessions.is_valid(session, time.monotonic())

    async def _terminal_script(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=pages.TERMINAL_SCRIPT, content_type="text/javascript")

    async def _sign_in_script(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=pages.SIGN_IN_SCRIPT, content_type="text/javascript")

    async def _sign_in_form(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text=pages.sign_in_page(), content_type="text/html")

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        """Exchange the token, or the code of the link, for a session."""
        form = await request.post()
        code, presented = (str(form.get(field, "")).strip() for field in ("code", "token"))
        if not self._one_time.redeem(code, time.monotonic()):
            try:
                token = (await asyncio.to_thread(self._locate)).token
            except MeshError as error:
                return web.json_response({"error": str(error)}, status=503)
            if not tokens_equal(presented, token):
                return await self._wrong_token(request.remote or "unknown", is_code=bool(code))
        session = secrets.token_urlsafe(32)
        self._sessions.start(session, time.monotonic())
        return web.json_response({"session": session})

    async def _wrong_token(self, peer: str, *, is_code: bool) -> web.StreamResponse:
        """The response to a wrong token, delayed."""
        self.listener.lines.warning("wrong token presented", peer)
        if not self._brake.enter(peer):
            return web.json_response({"error": "too many wrong tokens at once: try again"}, status=429)
        try:
            await asyncio.sleep(WRONG_TOKEN_DELAY)
        finally:
            self._brake.leave(peer)
        reason = "this link was used, or is too old: enter the token" if is_code else _REFUSED
        return web.json_response({"error": reason}, status=401)

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        size = max(8, min(40, to_int(request.query.get("fontsize", "16"), 16)))
        scheme = "wss" if _is_https(request) else "ws"
        page = pages.terminal_page(f"{scheme}://{request.host}/ws", size)
        return web.Response(text=page, content_type="text/html")

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run a dashboard for as long as the WebSocket is open."""
        if len(self._dashboards) >= MAX_DASHBOARDS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_DASHBOARDS} dashboards are open already: close one")
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=MESSAGE_LIMIT, protocols=(PROTOCOL,))

        async def close() -> None:
            await socket.close()

        dashboard = DashboardProcess(
            self.command,
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        dashboard.argv = self._argv
        self._dashboards.add(dashboard)
        width, height = (to_int(request.query.get(name, ""), 80) for name in ("width", "height"))
        try:
            await socket.prepare(request)
            await dashboard.start(max(20, min(500, width)), max(5, min(300, height)))
            await self._process_messages(socket, dashboard)
        except (ConnectionError, AssertionError, ValueError, KeyError, IndexError, TypeError) as error:
            log.warning("invalid message from a browser", error=type(error).__name__)
        finally:
            await dashboard.stop()
            self._dashboards.discard(dashboard)
            with contextlib.suppress(ConnectionError):
                await socket.close()
        return socket

    async def _stop_dashboards(self, _app: web.Application) -> None:
        await asyncio.gather(*(dashboard.stop() for dashboard in tuple(self._dashboards)))


def _is_https(request: web.Request) -> bool:
    """Whether the browser uses TLS, to a proxy in front of this server."""
    return request.headers.get("X-Forwarded-Proto", "") == "https"


async def serve(server: DashboardServer, *, bind: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; `ready` gets the URL. Raises OSError if it cannot listen."""
    raise_open_files_limit()
    listener = server.listener
    runner = web.AppRunner(
        server.application(),
        access_log=None,
        logger=listener.logger,
        handle_signals=False,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signal_number, stopping.set)
    try:
        listening_on = await listener.start(runner, bind, port)
        ready(f"http://{f'[{bind}]' if ':' in bind else bind}:{listening_on}/")
        await stopping.wait()
    finally:
        listener.close()
        await runner.cleanup()
