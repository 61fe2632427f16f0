"""Sockets for an aiohttp server whose clients are strangers at first: everything they may hold has a bound.

Connections count from the moment they are accepted, before TLS, and share the limit fairly among peers
(`connection_table`). A client that sends nothing costs a socket and no TLS buffers (234 KiB each in asyncio).
One that does not complete a request's headers, or is idle after a response, is disconnected. Malformed
requests are logged in one line each, at a bounded rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import Counter, Gauge

from meshwright.control_plane.connection_table import ConnectionTable, peer_of
from meshwright.control_plane.peer_log import PeerLog, request_logger

HANDSHAKE_TIMEOUT = 10.0
"""Seconds for the first byte, and then for the TLS handshake."""

BACKLOG = 128

ACCEPT_RETRY_DELAY = 0.1
"""Seconds until the next attempt when the process is out of file descriptors."""

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})

CONNECTIONS = Gauge("mesh_connections", "Open connections of a listener.", ["listener"])
CLOSED = Counter(
    "mesh_connections_closed_total",
    "Connections that a listener closed: above its limit, silent or slow (timeout), idle, after a failed "
    "TLS handshake, or to free file descriptors.",
    ["listener", "reason"],
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TlsContext = Callable[[], ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Times in seconds. `headers`: until a connection's first request has all its headers, and any later one
    after its first byte. `idle`: after a response. `lifetime`: of a connection, whatever it does; 0: any.
    """

    connections: int
    headers: float = 10.0
    idle: float = 60.0
    lifetime: float = 0.0


class HttpListener:
    """Listens for `runner`'s application. `name` is its label in metrics and logs.

    `middleware` must be the first of the application's middlewares: it tells when a request is being served.
    `tls` returns the context for the next connection.
    """

    def __init__(self, name: str, limits: ListenerLimits, tls: TlsContext | None = None) -> None:
        self.name = name
        self.limits = limits
        self._tls = tls
        self.table: ConnectionTable[_Connection] = ConnectionTable(limits.connections)
        self._by_transport: dict[asyncio.BaseTransport, _Connection] = {}
        self._runner: web.AppRunner | None = None
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.lines = PeerLog(name)
        self.logger: logging.Logger = request_logger(self.lines)

    async def start(self, runner: web.AppRunner, bind: str, port: int) -> int:
        """Listen on `bind`:`port` (0: any free port) and return the port; raises OSError.

        `runner` must be set up, with `logger` as its logger.
        """
        self._runner = runner
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((family, str(address[0])) for family, *_, address in infos):
            try:
                listening = socket.create_server((address, port), family=family, backlog=BACKLOG)
            except OSError as error:
                if self._sockets and error.errno in _NO_SUCH_ADDRESS:
                    continue  # `localhost` names an IPv6 address on hosts without IPv6
                self.close()
                raise
            listening.setblocking(False)
            self._sockets.append(listening)
            port = port or int(listening.getsockname()[1])
        for listening in self._sockets:
            self.spawn(self._accept(listening))
        return port

    def close(self) -> None:
        """Accept no more connections. `runner.cleanup()` ends the open ones."""
        for task in self._tasks:
            task.cancel()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()

    def spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """Run `work` until it ends or the listener closes."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def new_handler(self) -> asyncio.Protocol:
        """aiohttp's protocol for one connection."""
        server = self._runner.server if self._runner else None
        if server is None:
            raise ConnectionAbortedError("the server stops")
        return server()

    def opened(self, connection: _Connection) -> None:
        """A connection has a transport: requests on it can be recognized."""
        if connection.transport is not None:
            self._by_transport[connection.transport] = connection

    def ended(self, connection: _Connection) -> None:
        """A connection is closed."""
        self.table.remove(connection.peer, connection)
        if connection.transport is not None:
            self._by_transport.pop(connection.transport, None)
        CONNECTIONS.labels(self.name).set(len(self.table))

    def evict(self, connection: _Connection, reason: str) -> None:
        """Close a connection because of a limit."""
        CLOSED.labels(self.name, reason).inc()
        self.lines.warning("connection closed", connection.peer, reason=reason)
        connection.abort()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note when a request is being served."""
        connection = self._by_transport.get(request.transport) if request.transport else None
        if connection is None:
            return await handler(request)
        connection.begin()
        try:
            return await handler(request)
        finally:
            connection.end()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    victim = self.table.oldest()
                    if victim is not None:
                        self.evict(victim, "files")
                    await asyncio.sleep(ACCEPT_RETRY_DELAY)
                elif not self._sockets:
                    return
                continue
            connection = _Connection(self, accepted, peer_of(str(address[0])))
            victim = self.table.add(connection.peer, connection)
            CONNECTIONS.labels(self.name).set(len(self.table))
            if victim is not connection:
                connection.open(self._tls)
            if victim is not None:
                self.evict(victim, "limit")


class _Connection(asyncio.Protocol):
    """One connection: between its socket and aiohttp's protocol, to bound how long it waits for a request."""

    def __init__(self, listener: HttpListener, accepted: socket.socket, peer: str) -> None:
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self._listener = listener
        self._socket = accepted
        self._handler: asyncio.Protocol | None = None
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_idle = False
        self._socket_in_use = False

    # --- called by the listener ---------------------------------------------------------------------

    def open(self, tls: TlsContext | None) -> None:
        """Start to serve; all that takes time runs in a task."""
        limits = self._listener.limits
        if limits.lifetime:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(limits.lifetime, self._listener.evict, self, "timeout")
        else:
            self._expect_request(limits.headers)
        self._opening = self._listener.spawn(self._open(tls))
        self._opening.add_done_callback(self._opened)

    def begin(self) -> None:
        """A request is being served."""
        self._listener.table.set_busy(self.peer, self, busy=True)
        if not self._listener.limits.lifetime:
            self._stop_timer()

    def end(self) -> None:
        """The response is complete."""
        self._listener.table.set_busy(self.peer, self, busy=False)
        if not self._listener.limits.lifetime:
            self._is_idle = True
            self._start_timer(self._listener.limits.idle, "idle")

    def abort(self) -> None:
        """Close at once."""
        self._stop_timer()
        if self.transport is not None:
            self.transport.abort()
        elif self._opening is not None:
            self._opening.cancel()
        else:
            self._socket.close()
        self._listener.ended(self)

    async def _open(self, tls: TlsContext | None) -> None:
        loop = asyncio.get_running_loop()
        if tls is None:
            self._socket_in_use = True
            await loop.connect_accepted_socket(lambda: self, self._socket)
            return
        async with asyncio.timeout(HANDSHAKE_TIMEOUT):
            await _readable(self._socket)
        self._socket_in_use = True
        await loop.connect_accepted_socket(
            lambda: self,
            self._socket,
            ssl=tls(),
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            ssl_shutdown_timeout=2.0,
        )

    def _opened(self, opening: asyncio.Task[None]) -> None:
        """The connection is open, or it failed before that: asyncio closes the socket once it uses it."""
        self._opening = None
        if self.transport is not None:
            return
        if not self._socket_in_use:
            self._socket.close()
        if not opening.cancelled():
            error = opening.exception()
            is_late = isinstance(error, TimeoutError | ConnectionAbortedError)  # the latter by asyncio's TLS
            CLOSED.labels(self._listener.name, "timeout" if is_late else "handshake").inc()
        self._stop_timer()
        self._listener.ended(self)

    # --- called by asyncio ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS, if any, is established."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what sockets have
        self.transport = transport
        try:
            self._handler = self._listener.new_handler()
        except ConnectionAbortedError:
            transport.abort()
            return
        self._listener.opened(self)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """A part of a request: after a pause the rest of its headers must follow soon."""
        if self._is_idle:
            self._is_idle = False
            self._expect_request(self._listener.limits.headers)
        if self._handler is not None:
            self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        return self._handler.eof_received() if self._handler is not None else None

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._stop_timer()
        if self._handler is not None:
            self._handler.connection_lost(exc)
        self._listener.ended(self)

    def _expect_request(self, seconds: float) -> None:
        self._start_timer(seconds, "timeout")

    def _start_timer(self, seconds: float, reason: str) -> None:
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._listener.evict, self, reason)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _readable(accepted: socket.socket) -> None:
    """Return once the peer has sent something, or has closed."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[None] = loop.create_future()
    accepted.setblocking(False)

    def resolve() -> None:
        if not arrived.done():
            arrived.set_result(None)

    loop.add_reader(accepted, resolve)
    try:
        await arrived
    finally:
        with contextlib.suppress(ValueError, OSError):  # the socket was closed meanwhile
            loop.remove_reader(accepted)
