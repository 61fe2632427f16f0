"""Enrolment over HTTPS: exchanges a join token and a CSR for an SVID.

`GET /v1/ca` returns the root, which the caller compares with the hash in its token; `POST /v1/enrol` takes a
SignRequest. Callers are unauthenticated, so everything is limited: number and lifetime of connections, shared
fairly among peers, body sizes, and refusals per peer. Refusals are counted, and logged without the token.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import Counter
from pydantic import ValidationError

from meshwright.control_plane.api.join_token import JoinTokenClaims
from meshwright.control_plane.api.models.enrolment import SignRequest
from meshwright.control_plane.ca.authority import CertificateAuthority, ServerCertificate
from meshwright.control_plane.errors import InputError, PermissionDeniedError, StoreError
from meshwright.control_plane.http_listener import HttpListener, ListenerLimits
from meshwright.control_plane.rate_limit import Rate, RefusalRateLimiter

BODY_LIMIT = 32768
"""Bytes of a request body; a CSR and a token at their limits have 20 KiB."""

LIMITS = ListenerLimits(connections=256, lifetime=30.0)
"""A connection is closed after its lifetime, idle or not: an enrolment takes milliseconds."""

_BODY_TIMEOUT = 10.0
_PEER_RATE = Rate(burst=20, per_second=1)
_TOTAL_RATE = Rate(burst=200, per_second=20)

ENROLMENTS = Counter("mesh_enrolments_total", "Enrolments by outcome", ["outcome"])
for _outcome in ("signed", "refused", "malformed", "limited", "unavailable"):
    ENROLMENTS.labels(_outcome)

log = structlog.get_logger(__name__)

TokenCheck = Callable[[JoinTokenClaims], None]
"""Checks a valid token further: raises PermissionDeniedError (revoked), StoreError (unknown at present)."""

RefusalObserver = Callable[[str, str], None]
"""Called with the peer's address and the reason of a refusal."""


def _accept_any_token(_claims: JoinTokenClaims) -> None:
    """Accept every valid token."""


def _ignore_refusal(_peer: str, _reason: str) -> None:
    """Do nothing."""


class EnrolmentServer:
    """Listens on `bind`:`port`; port 0 takes a free port, which is in `port` after the start."""

    def __init__(
        self,
        authority: CertificateAuthority,
        bind: str,
        port: int,
        check_token: TokenCheck = _accept_any_token,
        on_refused: RefusalObserver = _ignore_refusal,
        *,
        limits: ListenerLimits = LIMITS,
    ) -> None:
        self._authority = authority
        self._check_token = check_token
        self._on_refused = on_refused
        self._bind = bind
        self.port = port
        self._rate_limiter = RefusalRateLimiter(_PEER_RATE, _TOTAL_RATE)
        self._serving: tuple[ServerCertificate, ssl.SSLContext] | None = None
        application = web.Application(client_max_size=BODY_LIMIT, middlewares=[_json_errors])
        application.add_routes([web.get("/v1/ca", self._get_root), web.post("/v1/enrol", self._post_enrol)])
        self._listener = HttpListener("enrolment", limits, self._current_context)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            logger=self._listener.logger,
            handle_signals=False,
            shutdown_timeout=2.0,
        )

    async def start(self) -> None:
        """Listen; raises InputError when the port is taken or cannot be bound."""
        self._current_context()
        await self._runner.setup()
        try:
            self.port = await self._listener.start(self._runner, self._bind, self.port)
        except OSError as error:
            await self._runner.cleanup()
            raise InputError(
                f"{self._bind}:{self.port}: cannot listen for enrolments: {error.strerror or error}: "
                "set MESH_ENROLMENT_PORT or MESH_BIND"
            ) from None
        log.info(
            "enrolment listening", address=self._bind, port=self.port, ca_sha256=self._authority.ca_sha256
        )

    async def close(self) -> None:
        """Stop listening and finish the requests in flight."""
        self._listener.close()
        await self._runner.cleanup()

    def _current_context(self) -> ssl.SSLContext:
        certificate = self._authority.server_certificate()
        if self._serving is None or self._serving[0] is not certificate:
            self._serving = (certificate, _tls_context(certificate))
        return self._serving[1]

    async def _get_root(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._authority.bundle, content_type="application/x-pem-file")

    async def _post_enrol(self, request: web.Request) -> web.Response:
        try:
            enrolment = await _read_request(request)
            claims = self._authority.verify_token(enrolment.token)
            identity = claims.identity
            signed = self._authority.sign_csr(enrolment.csr, identity)
            self._check_token(claims)
        except (InputError, PermissionDeniedError) as error:
            return self._refusal_response(request.remote or "unknown", error)
        except StoreError as error:
            ENROLMENTS.labels("unavailable").inc()
            return _error_response(503, "unavailable", str(error))
        ENROLMENTS.labels("signed").inc()
        log.info("enrolled", identity=identity.uri, token=claims.id, peer=request.remote)
        return web.json_response(text=signed.model_dump_json())

    def _refusal_response(self, peer: str, error: InputError | PermissionDeniedError) -> web.Response:
        if not self._rate_limiter.allow(peer, time.monotonic()):
            ENROLMENTS.labels("limited").inc()
            return _error_response(
                429, "limited", "too many refused enrolments: wait, then try again with a valid token"
            )
        outcome, status = ("refused", 403) if isinstance(error, PermissionDeniedError) else ("malformed", 400)
        ENROLMENTS.labels(outcome).inc()
        log.warning("enrolment refused", peer=peer, reason=str(error))
        self._on_refused(peer, str(error))
        return _error_response(status, outcome, str(error))


async def _read_request(request: web.Request) -> SignRequest:
    if (request.content_length or 0) > BODY_LIMIT:
        raise InputError(f"the body is larger than {BODY_LIMIT} bytes")
    try:
        async with asyncio.timeout(_BODY_TIMEOUT):
            content = await request.read()
        return SignRequest.model_validate_json(content)
    except web.HTTPRequestEntityTooLarge:
        raise InputError(f"the body is larger than {BODY_LIMIT} bytes") from None
    except ConnectionError:
        raise InputError("the connection ended before the body did") from None
    except TimeoutError:
        raise InputError(f"the body did not arrive within {_BODY_TIMEOUT:g} s") from None
    except ValidationError as error:
        fields = sorted({".".join(map(str, problem["loc"])) or "body" for problem in error.errors()})
        raise InputError(f"not a SignRequest in JSON (wrong: {', '.join(fields)})") from None


def _tls_context(certificate: ServerCertificate) -> ssl.SSLContext:
    """TLS 1.3 with a certificate. OpenSSL loads it only from a file: a private one, deleted at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.TemporaryDirectory(prefix="meshwright-") as folder:
        path = Path(folder) / "server.pem"
        path.touch(mode=0o600)
        path.write_text(certificate.certificate + certificate.key)
        context.load_cert_chain(path)
    return context


def _error_response(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


@web.middleware
async def _json_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Send aiohttp's own errors (unknown path or method) and internal errors in the same JSON form."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error_response(error.status, error.reason.lower().replace(" ", "-"), error.reason)
    except Exception:
        log.exception("enrolment failed", path=request.path[:100])
        return _error_response(500, "internal", "internal error: see the control plane's log")
