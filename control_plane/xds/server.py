"""The xDS port: delta ADS over mutual TLS with grpc.aio, and the agents' service on the same port.

Requests arrive as raw bytes; responses are bytes that streams of equal content share. The certificate says
who a caller is, and its node must agree.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.callers import CallerCheck
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.errors import PermissionDeniedError
from meshwright.control_plane.tls import LogThrottle, ReloadableCertificates, TlsCredentials, listen_address
from meshwright.control_plane.xds import metrics
from meshwright.control_plane.xds.node_identity import Peer, authorize_node
from meshwright.control_plane.xds.push_queue import PushQueue, TrialSnapshot
from meshwright.control_plane.xds.stream import OverloadError

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"

FIRST_REQUEST_TIMEOUT = 30.0
"""Seconds within which a new stream must send its first request."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),
    # With the defaults one stream in twenty fails when 2000 sidecars connect at once.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    # A sidecar reconnects with the versions of everything it has, and every unknown host it ever asked for:
    # 58 bytes for each usual one.
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    # A client that does not finish its TLS handshake holds memory; strangers get no more sockets than this.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_allowed_incoming_connections", 20_000),
    # Detects dead connections within 8 s, as a stream is a sign of life; allows Envoy's own pings every 10 s.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[bytes, bytes]
Handler: TypeAlias = "grpc.GenericRpcHandler[bytes, bytes]"


class XdsServer:
    """The server. Streams wait until the first `publish`.

    `callers` refuses evicted clients. `connection_age` in seconds bounds how long a connection outlives its
    certificate: clients reconnect, and nothing is sent again.
    """

    def __init__(
        self,
        bind: str,
        port: int,
        trust_domain: str,
        credentials: TlsCredentials,
        *,
        handlers: Sequence[Handler] = (),
        callers: CallerCheck | None = None,
        connection_age: float = 3600.0,
    ) -> None:
        self._address = listen_address(bind, port)
        self._callers = callers or CallerCheck(trust_domain)
        self._handlers = handlers
        self._connection_age = connection_age
        self._certificates = ReloadableCertificates(credentials)
        self._log_throttle = LogThrottle()
        self.queue = PushQueue()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises RuntimeError when the port is taken."""
        ages = (
            ("grpc.max_connection_age_ms", int(self._connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", 1000),
        )
        self._server = grpc.aio.server(options=[*OPTIONS, *ages])
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        ads = grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": method})
        self._server.add_generic_rpc_handlers((ads, *self._handlers))
        port = self._server.add_secure_port(self._address, self._certificates.server_credentials())
        await self._server.start()
        return port

    async def stop(self) -> None:
        """Close all streams and the port."""
        if self._server is not None:
            await self._server.stop(None)

    def replace_credentials(self, credentials: TlsCredentials) -> None:
        """Use another certificate or root for new connections; open ones continue."""
        self._certificates.replace(credentials)

    def publish(self, snapshot: Snapshot, trial: TrialSnapshot | None = None) -> None:
        """Switch to a newer snapshot and start to push what it changes. Returns at once.

        The proxies that `trial` admits get its snapshot instead.
        """
        self.queue.publish(snapshot, trial)

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """All proxies by name, including those that disconnected within the last minute."""
        return self.queue.proxies()

    async def _serve(self, _: object, context: Context) -> None:
        try:
            caller = self._callers.identify(context.auth_context() or {})
            async with asyncio.timeout(FIRST_REQUEST_TIMEOUT):
                message = await context.read()
            if not isinstance(message, bytes):
                return
            request = _parse(message)
            peer = replace(authorize_node(caller.identity, request.node), enrolment=caller.enrolment)
            await self._serve_stream(peer, request, context)
        except PermissionDeniedError as error:
            await self._abort(context, grpc.StatusCode.PERMISSION_DENIED, str(error))
        except OverloadError as error:
            await self._abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except TimeoutError:
            reason = f"no request within {FIRST_REQUEST_TIMEOUT:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, reason)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a DeltaDiscoveryRequest")
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("stream failed", peer=context.peer())
            await context.abort(grpc.StatusCode.INTERNAL, "internal error: see the control plane's log")

    async def _serve_stream(self, peer: Peer, request: v3.DeltaDiscoveryRequest, context: Context) -> None:
        stream = await self.queue.join(peer, context.write)
        reader = asyncio.current_task()
        if reader is not None:
            stream.on_evicted = reader.cancel
        log.info("stream opened", node=peer.node, identity=peer.identity.uri)
        try:
            self._callers.identify(context.auth_context() or {})  # it may have been evicted while it waited
            while True:
                await self.queue.receive(stream, request)
                message = await context.read()
                if not isinstance(message, bytes):
                    return
                request = _parse(message)
        except asyncio.CancelledError:
            if not stream.eviction or reader is None:
                raise
            reader.uncancel()
            raise PermissionDeniedError(stream.eviction) from None
        finally:
            self.queue.leave(stream)
            log.info("stream closed", node=peer.node, identity=peer.identity.uri)

    async def _abort(self, context: Context, code: grpc.StatusCode, reason: str) -> NoReturn:
        metrics.REFUSALS.inc()
        if self._log_throttle.should_log(context.peer(), reason, time.monotonic()):
            log.warning("stream refused", peer=context.peer(), reason=reason)
        await context.abort(code, reason)
        raise AssertionError("abort raises")


def _parse(message: bytes) -> v3.DeltaDiscoveryRequest:
    return v3.DeltaDiscoveryRequest.FromString(message)
