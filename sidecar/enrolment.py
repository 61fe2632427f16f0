"""Enrolment: trades a join token for an SVID over HTTPS, before there is any trust in the control plane."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import ssl
from dataclasses import replace

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from meshwright.control_plane.api.join_token import parse_unverified
from meshwright.control_plane.api.models.enrolment import SignRequest, SignResponse
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.sidecar.addresses import split_host_port
from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.errors import RejectedError, UnavailableError

_TIMEOUTS = Backoff(base=2.0, cap=30.0, failures=1)
"""Seconds for one request, in the first attempt and at most."""

MAX_RESPONSE_BYTES = 256 * 1024
"""Bytes of a response. A certificate chain and a bundle have a few thousand."""


def request_timeout(failures: int) -> float:
    """Seconds for one request, after so many failed attempts.

    Twice as many each time. A busy control plane to which all come at once would otherwise answer each of
    them too late, and again when they come back.
    """
    return replace(_TIMEOUTS, failures=failures + 1).delay(0.0)


async def enrol(
    session: aiohttp.ClientSession, address: str, token: str, csr: str, seconds: float = _TIMEOUTS.base
) -> SignResponse:
    """Trade a join token and a CSR for an SVID, with so many seconds for each of two requests.

    Fetches the CA's certificate unverified and compares its hash with the one in the token. Everything after
    that is verified against the certificate. Raises UnavailableError, RejectedError, ValueError (bad token).
    """
    host, port = split_host_port(address, 15011)
    base = f"https://{f'[{host}]' if ':' in host else host}:{port}/v1"
    ca = await _fetch_ca(session, base, token, seconds)
    context = ssl.create_default_context(cadata=ca.decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    post = session.post(
        f"{base}/enrol",
        data=SignRequest(csr=csr, token=token).model_dump_json(),
        headers={"content-type": "application/json"},
        ssl=context,
        server_hostname=CONTROL_PLANE_DNS,
        timeout=aiohttp.ClientTimeout(seconds),
    )
    return parse_sign_response(await _read(post))


async def _fetch_ca(session: aiohttp.ClientSession, base: str, token: str, seconds: float) -> bytes:
    """The CA's certificate as PEM, once it matches the token."""
    pem = await _read(session.get(f"{base}/ca", ssl=False, timeout=aiohttp.ClientTimeout(seconds)))
    try:
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    except ValueError:
        raise RejectedError(f"{base}/ca is not a certificate: is this a control plane?") from None
    if not hmac.compare_digest(hashlib.sha256(der).hexdigest(), parse_unverified(token).ca_sha256):
        raise RejectedError(f"the CA at {base} is not the one in the token: a new mesh, or an impostor")
    return pem


async def _read(request: contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]) -> bytes:
    try:
        async with request as response:
            body = await response.content.read(MAX_RESPONSE_BYTES)
            while not response.content.at_eof() and len(body) < MAX_RESPONSE_BYTES:
                body += await response.content.read(MAX_RESPONSE_BYTES - len(body))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UnavailableError(f"the control plane does not respond: {error or 'timeout'}") from None
    if response.status in (400, 401, 403, 413, 422):
        raise RejectedError(_error_message(body) or f"rejected with HTTP {response.status}")
    if response.status != 200:
        raise UnavailableError(f"the control plane returned HTTP {response.status}")
    return body


def _error_message(body: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["error"]["message"])[:500]
    return ""


def parse_sign_response(body: bytes) -> SignResponse:
    """The signed certificate in a response. Raises UnavailableError when there is none."""
    try:
        return SignResponse.model_validate_json(body)
    except ValueError:
        raise UnavailableError("the control plane's response is not an SVID") from None
