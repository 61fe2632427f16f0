"""Enrolment over real HTTPS, by agents and by unauthenticated callers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from meshwright.control_plane.api import join_token
from meshwright.control_plane.api.models.enrolment import SignRequest, SignResponse
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.ca import enrolment
from meshwright.control_plane.ca.authority import CertificateAuthority, open_authority
from meshwright.control_plane.ca.enrolment import EnrolmentServer
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError, PermissionDeniedError, StoreError
from meshwright.control_plane.http_listener import ListenerLimits
from meshwright.control_plane.rate_limit import Rate
from tests.control_plane.ca.keys import ORDERS, csr, new_key
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def authority(tmp_path: Path, clock: FakeClock) -> CertificateAuthority:
    return open_authority(Settings(tmp_path), clock)


@pytest.fixture
async def server(authority: CertificateAuthority) -> AsyncIterator[EnrolmentServer]:
    server = EnrolmentServer(authority, "127.0.0.1", 0)
    await server.start()
    yield server
    await server.close()


def tls_context(bundle: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=bundle)


async def post(server: EnrolmentServer, bundle: str, body: bytes | str) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"https://127.0.0.1:{server.port}/v1/enrol",
            data=body,
            ssl=tls_context(bundle),
            server_hostname=CONTROL_PLANE_DNS,
        ) as response,
    ):
        return response.status, await response.json()


def body_of(token: str, pem: str = "") -> str:
    return SignRequest(csr=pem or csr(new_key(), [ORDERS.uri]), token=token).model_dump_json()


def count(outcome: str) -> float:
    return float(enrolment.ENROLMENTS.labels(outcome)._value.get())


async def test_agent_enrols_with_only_its_token(
    authority: CertificateAuthority, server: EnrolmentServer
) -> None:
    token = authority.mint_token(ORDERS, 60)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"https://127.0.0.1:{server.port}/v1/ca", ssl=False) as response,
    ):
        bundle = await response.text()
    assert (
        hashlib.sha256(ssl.PEM_cert_to_DER_cert(bundle)).hexdigest()
        == join_token.parse_unverified(token).ca_sha256
    )
    key, before = new_key(), count("signed")
    status, body = await post(server, bundle, body_of(token, csr(key, [ORDERS.uri])))
    signed = SignResponse.model_validate(body)
    svid = x509.load_pem_x509_certificate(signed.certificate.encode())
    names = svid.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert status == 200
    assert signed.bundle == bundle
    assert svid.public_key() == key.public_key()
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [ORDERS.uri]
    assert count("signed") == before + 1


async def test_invalid_tokens_and_requests_are_refused_logged_and_counted(
    authority: CertificateAuthority, server: EnrolmentServer, clock: FakeClock
) -> None:
    good = authority.mint_token(ORDERS, 3600)
    expired = authority.mint_token(ORDERS, 60)
    clock.advance(120)
    other = csr(new_key(), ["spiffe://mesh.local/service/payments"])
    cases = [
        (body_of(good[:-6] + "AAAAAA"), "signature is invalid"),
        (body_of(expired), "has expired"),
        (body_of(""), "malformed"),
        (body_of(good, other), "is for 'spiffe://mesh.local/service/payments', not for"),
        (body_of(good, "no PEM"), "cannot be read"),
    ]
    before = count("refused")
    with capture_logs() as logs:
        for body, reason in cases:
            status, response = await post(server, authority.bundle, body)
            assert (status, response["error"]["code"]) == (403, "refused")
            assert reason in response["error"]["message"]
    assert count("refused") == before + len(cases)
    refused = [entry for entry in logs if entry["event"] == "enrolment refused"]
    assert [reason in entry["reason"] for entry, (_, reason) in zip(refused, cases, strict=True)] == [
        True
    ] * 5
    assert {entry["peer"] for entry in refused} == {"127.0.0.1"}
    assert good.split(".")[1] not in json.dumps(logs)
    assert expired.split(".")[1] not in json.dumps(logs)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"\xff\xfe", "body"),
        (b'{"token": "a.b.c"}', "csr"),
        (json.dumps({"csr": "x" * 16385, "token": ""}).encode(), "csr"),
        (b" " * 32769, "larger than 32768 bytes"),
    ],
)
async def test_invalid_body_is_named(
    authority: CertificateAuthority, server: EnrolmentServer, body: bytes, reason: str
) -> None:
    status, response = await post(server, authority.bundle, body)
    assert (status, response["error"]["code"]) == (400, "malformed")
    assert reason in response["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (PermissionDeniedError("the join token is revoked"), 403, "refused"),
        (StoreError("revocations are not loaded"), 503, "unavailable"),
    ],
)
async def test_valid_token_must_pass_the_further_check(
    authority: CertificateAuthority, error: Exception, status: int, code: str
) -> None:
    checked: list[str] = []

    def check_token(claims: join_token.JoinTokenClaims) -> None:
        checked.append(claims.id)
        raise error

    server = EnrolmentServer(authority, "127.0.0.1", 0, check_token)
    await server.start()
    before, signed = count(code), count("signed")
    token = authority.mint_token(ORDERS, 60)
    try:
        response = await post(server, authority.bundle, body_of(token))
    finally:
        await server.close()
    assert response == (status, {"error": {"code": code, "message": str(error)}})
    assert checked == [join_token.parse_unverified(token).id]
    assert (count(code), count("signed")) == (before + 1, signed)


async def test_refusals_are_rate_limited_and_valid_tokens_are_not(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "_PEER_RATE", Rate(burst=3, per_second=0))
    server = EnrolmentServer(authority, "127.0.0.1", 0)
    await server.start()
    before = count("limited")
    try:
        with capture_logs() as logs:
            pairs = [await post(server, authority.bundle, body_of("a.b.c")) for _ in range(5)]
            valid, _ = await post(server, authority.bundle, body_of(authority.mint_token(ORDERS, 60)))
    finally:
        await server.close()
    assert [status for status, _ in pairs] == [403, 403, 403, 429, 429]
    assert len([entry for entry in logs if entry["event"] == "enrolment refused"]) == 3
    assert count("limited") == before + 2
    assert valid == 200


async def test_unknown_paths_and_methods_get_errors_in_the_same_form(
    authority: CertificateAuthority, server: EnrolmentServer
) -> None:
    async with aiohttp.ClientSession(f"https://127.0.0.1:{server.port}") as session:
        for method, path, status in (("GET", "/", 404), ("GET", "/v1/enrol", 405), ("POST", "/v1/ca", 405)):
            async with session.request(method, path, ssl=tls_context(authority.bundle)) as response:
                assert response.status == status
                assert set((await response.json())["error"]) == {"code", "message"}


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
        b"POST /v1/enrol HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_invalid_http_gets_400_and_is_not_logged(
    authority: CertificateAuthority, server: EnrolmentServer, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    context = tls_context(authority.bundle)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    writer.write(raw)
    first = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    assert b" 400 " in first
    assert caplog.records == []


async def test_tls_below_1_3_is_refused(authority: CertificateAuthority, server: EnrolmentServer) -> None:
    context = tls_context(authority.bundle)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await asyncio.open_connection("127.0.0.1", server.port, ssl=context)


async def test_certificate_is_renewed_without_a_new_listener(
    authority: CertificateAuthority, clock: FakeClock
) -> None:
    clock.advance(-1801)
    server = EnrolmentServer(authority, "127.0.0.1", 0)
    await server.start()

    async def served_certificate() -> bytes:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=tls_context(authority.bundle), server_hostname=CONTROL_PLANE_DNS
        )
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        assert isinstance(certificate, bytes)
        return certificate

    try:
        first = await served_certificate()
        assert await served_certificate() == first
        clock.advance(1801)
        second = await served_certificate()
    finally:
        await server.close()
    assert second != first
    assert x509.load_der_x509_certificate(second).not_valid_after_utc.timestamp() > clock() + 3500


async def test_silent_connection_is_closed(authority: CertificateAuthority) -> None:
    server = EnrolmentServer(authority, "127.0.0.1", 0, limits=ListenerLimits(connections=10, lifetime=0.3))
    await server.start()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=tls_context(authority.bundle), server_hostname=CONTROL_PLANE_DNS
    )
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()
    await server.close()


async def test_a_peer_that_holds_every_connection_locks_nobody_out(authority: CertificateAuthority) -> None:
    server = EnrolmentServer(authority, "127.0.0.1", 0, limits=ListenerLimits(connections=3, lifetime=600))
    await server.start()
    held = [
        await asyncio.open_connection("127.0.0.1", server.port, ssl=tls_context(authority.bundle))
        for _ in range(3)
    ]
    silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(9)]
    try:
        for _ in range(2):
            status, _ = await post(server, authority.bundle, body_of(authority.mint_token(ORDERS, 60)))
            assert status == 200
        assert await asyncio.wait_for(held[0][0].read(), 20) == b""
    finally:
        for _, writer in (*held, *silent):
            writer.close()
        await server.close()


async def test_taken_port_is_named(authority: CertificateAuthority, server: EnrolmentServer) -> None:
    second = EnrolmentServer(authority, "127.0.0.1", server.port)
    with pytest.raises(InputError, match=rf"127\.0\.0\.1:{server.port}: .*MESH_ENROLMENT_PORT"):
        await second.start()
    await second.close()
