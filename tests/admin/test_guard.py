"""Who is let in: attacks on Host, Origin, token and size, and what never shows up in logs."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import aiohttp
import pytest
import structlog

from control_plane.admin import server
from control_plane.api.guard import Guard
from control_plane.errors import InputError
from tests.fakes.mesh import FakeMesh

STATUS = "/api/v1/status"


def bearer(mesh: FakeMesh, **headers: str) -> dict[str, str]:
    """Headers of a caller who has the token."""
    return {"Authorization": f"Bearer {mesh.token}", **headers}


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic {token}", "{token}", "Bearer {token}x", "Bearer {half}",
     "Bearer \u00e9{token}"],
)  # fmt: skip
async def test_without_the_token_nobody_enters(
    mesh: FakeMesh, raw: aiohttp.ClientSession, authorization: str
) -> None:
    given = authorization.format(token=mesh.token, half=mesh.token[:20])
    async with raw.get(STATUS, headers={"Authorization": given}) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        fault = (await answer.json())["error"]
        assert (fault["code"], mesh.token in fault["message"]) == ("unauthorized", False)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:15080", "127.0.0.1.evil.example", "localhost.evil.example",
     "localhost@evil.example", "[::2]", "127.0.0.2", "", "localhost/..", "local host"],
)  # fmt: skip
async def test_a_rebound_name_is_refused(mesh: FakeMesh, raw: aiohttp.ClientSession, host: str) -> None:
    for path in (STATUS, "/metrics", "/healthz"):
        async with raw.get(path, headers=bearer(mesh, Host=host)) as answer:
            assert answer.status == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9999", "[::1]:1", "LOCALHOST:15080"])
async def test_every_loopback_name_and_forwarded_port_is_ours(
    mesh: FakeMesh, raw: aiohttp.ClientSession, host: str
) -> None:
    async with raw.get(STATUS, headers=bearer(mesh, Host=host)) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "file://", ""]
)
async def test_a_foreign_page_is_refused(mesh: FakeMesh, raw: aiohttp.ClientSession, origin: str) -> None:
    async with raw.post("/api/v1/delete", json={"refs": []}, headers=bearer(mesh, Origin=origin)) as answer:
        assert answer.status == 403


async def test_our_own_page_is_not(mesh: FakeMesh, raw: aiohttp.ClientSession) -> None:
    async with raw.get(STATUS, headers=bearer(mesh, Origin=mesh.url)) as answer:
        assert answer.status == 200


async def test_what_is_public_needs_no_token(raw: aiohttp.ClientSession) -> None:
    for path, word in (
        ("/healthz", "ok"),
        ("/metrics", "mesh_admin_requests_total"),
        ("/api/openapi.json", "3.1"),
    ):
        async with raw.get(path) as answer:
            assert (answer.status, word in await answer.text()) == (200, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/nothing", 404), ("/", 404), ("/api/v1/../../etc/passwd", 404), ("/api/v1/apply", 405)],
)
async def test_wrong_paths_are_answered_in_our_form(
    mesh: FakeMesh, raw: aiohttp.ClientSession, path: str, status: int
) -> None:
    async with raw.get(path, headers=bearer(mesh)) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b'{"documents": []}', 400),
        (b'{"documents": [{"document": {}}], "secret": 1}', 400),
        (b'{"documents": [{"document": {}}]}', 422),
        (b'{"documents": [{"document": {"kind": ["Retry"]}}]}', 422),
        (b'{"documents": [{"document": {"kind": "Retry", "spec": NaN}}]}', 422),
        (b"[" * 200_000, 400),
        (b'{"documents":' + b'{"document":' * 5000 + b"1" + b"}" * 5000 + b"}", 400),
        (b'{"documents": [' + b" " * server.BODY_LIMIT + b"]}", 413),
    ],
)
async def test_bad_bodies_change_nothing(
    mesh: FakeMesh, raw: aiohttp.ClientSession, body: bytes, status: int
) -> None:
    async with raw.post("/api/v1/apply", data=body, headers=bearer(mesh)) as answer:
        assert answer.status == status
        fault = (await answer.json())["error"]
        assert fault["code"] in {"invalid", "too-large"}
    assert len(mesh.store.kept) == 1


async def test_no_secret_is_logged(mesh: FakeMesh, raw: aiohttp.ClientSession) -> None:
    with structlog.testing.capture_logs() as logged:
        async with raw.post("/api/v1/tokens", json={"service": "orders"}, headers=bearer(mesh)) as answer:
            minted = (await answer.json())["token"]
        async with raw.get(STATUS, headers={"Authorization": "Bearer wrong-secret"}):
            pass
    text = json.dumps(logged, default=str)
    assert {"operation": "token", "status": 200}.items() <= logged[0].items()
    assert any(entry.get("reason") == "token" for entry in logged)
    for secret in (mesh.token, minted, "wrong-secret"):
        assert secret not in text


async def test_the_token_is_private_and_kept(mesh: FakeMesh, tmp_path: Path) -> None:
    path = mesh.state / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(mesh.token) >= 43
    path.chmod(0o644)
    assert server.ensure_token(mesh.state) == mesh.token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server.ensure_token(tmp_path / "other") != mesh.token
    path.write_text("short")
    with pytest.raises(InputError, match="too short"):
        server.ensure_token(mesh.state)


def test_a_readers_token_opens_its_path_and_nothing_else() -> None:
    guard = Guard("the admin's", readers={"/api/v1/prometheus/targets": "prometheus's"})

    def enters(path: str, token: str) -> bool:
        headers = {"Host": "localhost", "Authorization": f"Bearer {token}"}
        return guard.refusal(headers, path, public=False) is None

    assert enters("/api/v1/prometheus/targets", "prometheus's")
    assert enters("/api/v1/prometheus/targets", "the admin's")
    assert enters("/api/v1/status", "the admin's")
    assert not enters("/api/v1/status", "prometheus's")
    assert not enters("/api/v1/prometheus/targets", "another's")
    assert not enters("/api/v1/status", "")
