"""Who is let in: attacks on Host, Origin, token and size, and what never shows up in logs."""

from __future__ import annotations

import inspect
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
import structlog
from yarl import URL

from meshwright.control_plane.admin import server
from meshwright.control_plane.admin.route import Route
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.auth import RequestGuard
from meshwright.control_plane.api.calls import ApiCall, DocumentRef, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.errors import InputError
from tests.fakes.admin_server import FakeMesh

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
    assert len(mesh.store.revisions) == 1


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
    guard = RequestGuard("the admin's", path_tokens={"/api/v1/prometheus/targets": "prometheus's"})

    def enters(path: str, token: str) -> bool:
        headers = {"Host": "localhost", "Authorization": f"Bearer {token}"}
        return guard.refusal(headers, path, public=False) is None

    assert enters("/api/v1/prometheus/targets", "prometheus's")
    assert enters("/api/v1/prometheus/targets", "the admin's")
    assert enters("/api/v1/status", "the admin's")
    assert not enters("/api/v1/status", "prometheus's")
    assert not enters("/api/v1/prometheus/targets", "another's")
    assert not enters("/api/v1/status", "")


SHOWS = frozenset(
    {"status", "instances", "proxies", "wait", "topology", "edge_history", "services", "service_history"}
    | {"policies", "policiesOfKind", "policy", "history", "revision", "diff", "events", "requests", "why"}
    | {"proxy_stats", "proxy_config", "log_level", "prometheus_targets", "traces", "trace"}
    | {"jaegerServices", "jaegerOperations", "jaegerTraces", "jaegerTrace", "jaegerDependencies"}
)
"""What the token that may only read opens."""

CLOSED = frozenset(
    {"apply", "delete", "rollback", "set_log_level", "tap", "proxy_logs", "token", "tokens", "revokeToken"}
)
"""What it does not: changes in the mesh or a proxy, what may hold secrets, and who may join."""

NAMES = {"kind": "Retry", "revision": "0", "service": "orders", "caller": "storefront", "callee": "orders"}
NAMES |= {"name": "orders-1", "id": "0af7651916cd43dd8448eb211c80319c"}

CALLS: dict[str, ApiCall] = {
    "status": calls.status(),
    "instances": calls.instances(),
    "proxies": calls.proxies(),
    "proxy_stats": calls.proxy_stats("orders-1"),
    "proxy_config": calls.proxy_config("orders-1"),
    "log_level": calls.log_level("orders-1"),
    "wait": calls.wait(0, 0),
    "topology": calls.topology(),
    "edge_history": calls.edge_history("storefront", "orders"),
    "services": calls.services(),
    "service_history": calls.service_history("orders"),
    "policies": calls.policies(),
    "history": calls.history(),
    "revision": calls.revision(0),
    "diff": calls.diff([SourcedDocument({"kind": "Retry"})]),
    "events": calls.events(),
    "requests": calls.requests(),
    "why": calls.explain("0af7651916cd"),
    "traces": calls.traces(),
    "trace": calls.trace("0af7651916cd"),
    "apply": calls.apply([SourcedDocument({"kind": "Retry"})], calls.ChangeOptions(dry_run=True)),
    "delete": calls.delete([DocumentRef("Retry", "again")]),
    "rollback": calls.rollback(0),
    "set_log_level": calls.set_log_level("orders-1", "debug"),
    "proxy_logs": calls.proxy_logs("orders-1"),
    "tap": calls.tap("orders"),
    "token": calls.create_token("service", "orders", 60),
    "tokens": calls.tokens(),
    "revoke_token": calls.revoke_token("id-1"),
}
"""A call of each operation that clients have."""


async def refused(mesh: FakeMesh, answer: aiohttp.ClientResponse, operation: str) -> None:
    """The one line for who may only read; nothing was changed and no proxy asked."""
    assert answer.status == 403
    fault = (await answer.json())["error"]
    assert fault["code"] == "refused"
    assert fault["message"] == f"this token may only read: {operation} takes the admin token"
    assert (len(mesh.store.revisions), mesh.tokens.tokens, mesh.commands) == (1, {}, [])


def test_every_route_and_every_call_is_for_readers_or_is_not() -> None:
    """A new one is closed to readers until somebody decides, here too."""
    assert not SHOWS & CLOSED
    assert {route.operation_id for route in server.ROUTES} == SHOWS | CLOSED
    made = {name for name, one in inspect.getmembers(calls, inspect.isfunction) if makes_a_call(one)}
    assert CALLS.keys() == made


def makes_a_call(function: Callable[..., object]) -> bool:
    """Whether it is one of the operations."""
    return bool(function.__annotations__.get("return") == "Call")


@pytest.mark.parametrize("route", server.ROUTES, ids=lambda route: route.operation)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_who_may_only_read_gets_what_shows_and_nothing_else(
    mesh: FakeMesh, raw: aiohttp.ClientSession, route: Route, accept: str
) -> None:
    path = re.sub(r"{(\w+)}", lambda found: NAMES[found[1]], route.full_path)
    headers = {"Authorization": f"Bearer {mesh.read_token}", "Accept": accept}
    async with raw.request(route.method, path, json={}, headers=headers) as answer:
        if route.operation_id in CLOSED:
            await refused(mesh, answer, route.operation_id)
        else:
            assert answer.status in {200, 400, 404}
    assert len(mesh.store.revisions) == 1


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_of_clients_is_let_in_or_refused(
    mesh: FakeMesh, raw: aiohttp.ClientSession, name: str
) -> None:
    call, headers = CALLS[name], {"Authorization": f"Bearer {mesh.read_token}"}
    async with raw.request(call.method, call.path, json=call.body, headers=headers) as answer:
        operation = "revokeToken" if name == "revoke_token" else name
        if operation in CLOSED:
            await refused(mesh, answer, operation)
        else:
            assert answer.status in {200, 400, 404, 422}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/%61pply", 403),
        ("POST", "//api/v1/apply", 404),
        ("POST", "/api/v1/apply/", 404),
        ("POST", "/api/v1/status/../apply", 404),
        ("PUT", "/api/v1/status", 405),
        ("DELETE", "/api/v1/policies/Retry/again", 405),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/tap/orders?x=/api/v1/status", 403),
        ("GET", "/api/v1/proxies/orders-1/logs", 403),
    ],
)
async def test_no_way_of_writing_a_path_opens_more(
    mesh: FakeMesh, method: str, path: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {mesh.read_token}", "X-HTTP-Method-Override": "POST"}
    url = URL(mesh.url + path, encoded=True)
    async with aiohttp.request(method, url, json={}, headers=headers) as answer:
        assert answer.status == status
    assert (len(mesh.store.revisions), mesh.commands) == (1, [])


async def test_a_caller_is_told_what_its_token_may_do(mesh: FakeMesh) -> None:
    async with Client(mesh.endpoint) as admin, Client(mesh.read_only_endpoint) as reader:
        for _ in range(2):
            assert (await admin.status()).rights == "all"
            assert (await reader.status()).rights == "read"


def test_the_reading_token_is_made_or_given_and_never_the_admins(tmp_path: Path) -> None:
    admins = server.ensure_token(tmp_path)
    made = server.ensure_read_token(tmp_path, "", admins)
    assert made != admins
    assert made == server.ensure_read_token(tmp_path, "", admins)
    assert stat.S_IMODE((tmp_path / "read.token").stat().st_mode) == 0o600
    given = tmp_path / "given"
    given.write_text("a secret of the operator's\n")
    given.chmod(0o600)
    assert server.ensure_read_token(tmp_path, str(given), admins) == "a secret of the operator's"
    for path, file in ((given, str(given)), (tmp_path / "read.token", "")):
        path.write_text(admins + "\n")
        with pytest.raises(InputError, match=f"{path}: this is the admin token"):
            server.ensure_read_token(tmp_path, file, admins)
    given.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        server.ensure_read_token(tmp_path, str(given), admins)


@pytest.mark.parametrize("given", ["", "Bearer", "Basic {reading}", "Bearer {reading}x", "Bearer {half}"])
async def test_a_part_of_the_reading_token_opens_nothing(
    mesh: FakeMesh, raw: aiohttp.ClientSession, given: str
) -> None:
    authorization = given.format(reading=mesh.read_token, half=mesh.read_token[:20])
    async with raw.get(STATUS, headers={"Authorization": authorization}) as answer:
        assert answer.status == 401


def test_where_there_is_no_reading_token_an_empty_one_opens_nothing() -> None:
    guard = RequestGuard("the admin's")
    for given in ("", "Bearer", "Bearer "):
        headers = {"Host": "localhost", "Authorization": given}
        assert guard.refusal(headers, "/api/v1/status", public=False, read_only=True) == "token"
        assert guard.rights(headers) is None
