"""The agent's side of the control plane: enrolment over HTTPS, then gRPC with the SVID it got."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import ssl
from urllib.parse import urlsplit

import aiohttp
import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshwright.control_plane.api.join_token import parse_unverified
from meshwright.control_plane.api.models.base import (
    ApiModel,
    DrainResult,
    InstanceRef,
    LeaseGrant,
    ProxyReport,
    Registration,
    SignRequest,
    SignResponse,
)
from meshwright.control_plane.api.models.commands import CommandBatch, CommandResult, ProxyRef
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.sidecar.svid import Svid

AGENT_SERVICE = "meshwright.agent.v1.Agent"

CALL_TIMEOUT = 2.0
"""Seconds one call may take."""

DRAIN_TIMEOUT = 10.0
"""Seconds a drain may take: the control plane waits for every caller's sidecar."""

FETCH_TIMEOUT = 25.0
"""Seconds a fetch of asks may take: the control plane holds it for fifteen."""

MAX_RESPONSE_BYTES = 256 * 1024
"""Bytes of an answer over HTTPS; a chain and a bundle have a few thousand."""


class UnavailableError(Exception):
    """The control plane does not answer now; trying again may help."""


class RejectedError(Exception):
    """The control plane answered and refused; its words say why."""


def generate_key() -> ec.EllipticCurvePrivateKey:
    """A fresh private key on P-256, for one SVID."""
    return ec.generate_private_key(ec.SECP256R1())


def split_host_port(address: str, default_port: int) -> tuple[str, int]:
    """Read `host:port` or `https://host:port`; raises ValueError."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname:
        raise ValueError(f"no address: {address!r}")
    return parts.hostname, parts.port or default_port


async def enrol(session: aiohttp.ClientSession, address: str, token: str, csr: str) -> SignResponse:
    """Trade a join token and a CSR for an SVID.

    The CA's certificate is fetched unverified and must be the one whose hash the token carries; everything
    after that is verified against it. Raises AwayError, RefusedError, ValueError (no token).
    """
    host, port = split_host_port(address, 15011)
    base = f"https://{f'[{host}]' if ':' in host else host}:{port}/v1"
    pem = await _fetch(session.get(f"{base}/ca", ssl=False, timeout=aiohttp.ClientTimeout(CALL_TIMEOUT)))
    try:
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    except ValueError:
        raise RejectedError(f"{base}/ca is no certificate: is a control plane there?") from None
    if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), parse_unverified(token).ca_sha256):
        raise RejectedError(
            f"the CA at {base} is not the one that the token names: a new mesh, or an impostor"
        )
    context = ssl.create_default_context(cadata=pem.decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    body = SignRequest(csr=csr, token=token).model_dump_json()
    post = session.post(
        f"{base}/enrol",
        data=body,
        headers={"content-type": "application/json"},
        ssl=context,
        server_hostname=CONTROL_PLANE_DNS,
        timeout=aiohttp.ClientTimeout(CALL_TIMEOUT),
    )
    return _parse_signed(await _fetch(post))


async def _fetch(asking: contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]) -> bytes:
    try:
        async with asking as answer:
            body = await answer.content.read(MAX_RESPONSE_BYTES)
            while not answer.content.at_eof() and len(body) < MAX_RESPONSE_BYTES:
                body += await answer.content.read(MAX_RESPONSE_BYTES - len(body))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"the control plane does not answer: {error or 'timeout'}") from None
    if answer.status in (400, 401, 403, 413, 422):
        raise RejectedError(_error_message(body) or f"refused with HTTP {answer.status}")
    if answer.status != 200:
        raise UnavailableError(f"the control plane answers with HTTP {answer.status}")
    return body


def _error_message(body: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["error"]["message"])[:500]
    return ""


def _parse_signed(body: bytes) -> SignResponse:
    try:
        return SignResponse.model_validate_json(body)
    except ValueError:
        raise UnavailableError("the control plane's answer is no SVID") from None


_REJECTED_CODES = (
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.FAILED_PRECONDITION,
)


class ControlPlaneClient:
    """The agent service of the control plane, called with one SVID. Raises AwayError and RefusedError."""

    def __init__(self, address: str, svid: Svid) -> None:
        host, port = split_host_port(address, 15012)
        credentials = grpc.ssl_channel_credentials(
            svid.bundle.encode(), svid.key.encode(), svid.certificate.encode()
        )
        options = [
            ("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 1000),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._channel = grpc.aio.secure_channel(target, credentials, options)
        self._fetching: asyncio.Task[bytes] | None = None

    async def close(self) -> None:
        """End the connection; calls under way are given a moment, but not the one that waits for asks."""
        if self._fetching is not None:
            self._fetching.cancel()
        await self._channel.close(CALL_TIMEOUT)

    async def register(self, registration: Registration) -> LeaseGrant:
        """Announce an instance, or renew its lease."""
        return LeaseGrant.model_validate_json(await self._call("Register", registration))

    async def deregister(self, instance: str) -> None:
        """Take an instance out for good."""
        await self._call("Deregister", InstanceRef(instance=instance))

    async def drain(self, instance: str) -> DrainResult:
        """Take an instance out of every caller's sidecar, and hear when they have let go of it."""
        answer = await self._call("Drain", InstanceRef(instance=instance), DRAIN_TIMEOUT)
        return DrainResult.model_validate_json(answer)

    async def renew(self, csr: str) -> SignResponse:
        """A new SVID for a new key, on the strength of the present one."""
        return _parse_signed(await self._call("Renew", SignRequest(csr=csr)))

    async def report(self, report: ProxyReport) -> None:
        """Tell what a proxy knows of itself."""
        await self._call("Report", report)

    async def fetch_commands(self, proxy: ProxyRef) -> CommandBatch:
        """What is asked of a proxy, as soon as there is something; also AwayError when it is closed."""
        self._fetching = asyncio.create_task(self._call("Fetch", proxy, FETCH_TIMEOUT))
        try:
            return CommandBatch.model_validate_json(await self._fetching)
        except asyncio.CancelledError:
            self._fetching.cancel()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise UnavailableError("Fetch: the connection was closed") from None

    async def send_result(self, answer: CommandResult) -> None:
        """Answer an ask."""
        await self._call("Answer", answer)

    async def _call(self, method: str, message: ApiModel, timeout: float = CALL_TIMEOUT) -> bytes:  # noqa: ASYNC109
        call = self._channel.unary_unary(f"/{AGENT_SERVICE}/{method}", None, None)
        try:
            answer: bytes = await call(message.model_dump_json().encode(), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            kind = RejectedError if error.code() in _REJECTED_CODES else UnavailableError
            raise kind(f"{method}: {error.details() or error.code().name}") from None
        return answer
