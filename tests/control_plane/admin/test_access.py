"""Access control: attacks on Host, Origin, token and size, the read-only token, and secrets in logs."""

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
from meshwright.control_plane.admin.token_files import ensure_read_token, ensure_token
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.auth import RequestGuard
from meshwright.control_plane.api.calls import ApiCall, DocumentRef, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.errors import InputError
from tests.fakes.admin_server import FakeMesh, fake_routes

STATUS = "/api/v1/status"
ROUTES = fake_routes()


def bearer(mesh: FakeMesh, **headers: str) -> dict[str, str]:
    """Headers with the admin token."""
    return {"Authorization": f"Bearer {mesh.token}", **headers}


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic {token}", "{token}", "Bearer {token}x", "Bearer {half}",
     "Bearer \u00e9{token}"],
)  # fmt: skip
async def test_without_the_token_a_request_is_unauthorized(
    mesh: FakeMesh, raw: aiohttp.ClientSession, authorization: str
) -> None:
    header = authorization.format(token=mesh.token, half=mesh.token[:20])
    async with raw.get(STATUS, headers={"Authorization": header}) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        error = (await response.json())["error"]
        assert (error["code"], mesh.token in error["message"]) == ("unauthorized", False)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:15080", "127.0.0.1.evil.example", "localhost.evil.example",
     "localhost@evil.example", "[::2]", "127.0.0.2", "", "localhost/..", "local host"],
)  # fmt: skip
async def test_a_foreign_host_name_is_denied(mesh: FakeMesh, raw: aiohttp.ClientSession, host: str) -> None:
    for path in (STATUS, "/metrics", "/healthz"):
        async with raw.get(path, headers=bearer(mesh, Host=host)) as response:
            assert response.status == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9999", "[::1]:1", "LOCALHOST:15080"])
async def test_every_loopback_name_is_accepted_with_any_port(
    mesh: FakeMesh, raw: aiohttp.ClientSession, host: str
) -> None:
    async with raw.get(STATUS, headers=bearer(mesh, Host=host)) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "file://", ""]
)
async def test_a_foreign_origin_is_denied(mesh: FakeMesh, raw: aiohttp.ClientSession, origin: str) -> None:
    async with raw.post("/api/v1/delete", json={"refs": []}, headers=bearer(mesh, Origin=origin)) as response:
        assert response.status == 403


async def test_the_servers_own_origin_is_accepted(mesh: FakeMesh, raw: aiohttp.ClientSession) -> None:
    async with raw.get(STATUS, headers=bearer(mesh, Origin=mesh.url)) as response:
        assert response.status == 200


async def test_public_paths_need_no_token(raw: aiohttp.ClientSession) -> None:
    for path, text in (
        ("/healthz", "ok"),
        ("/metrics", "mesh_admin_requests_total"),
        ("/api/openapi.json", "3.1"),
    ):
        async with raw.get(path) as response:
            assert (response.status, text in await response.text()) == (200, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/nothing", 404), ("/", 404), ("/api/v1/../../etc/passwd", 404), ("/api/v1/apply", 405)],
)
async def test_unknown_paths_and_methods_get_an_error_body(
    mesh: FakeMesh, raw: aiohttp.ClientSession, path: str, status: int
) -> None:
    async with raw.get(path, headers=bearer(mesh)) as response:
        assert response.status == status
        assert (await response.json())["error"]["message"]


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
async def test_an_invalid_body_changes_nothing(
    mesh: FakeMesh, raw: aiohttp.ClientSession, body: bytes, status: int
) -> None:
    async with raw.post("/api/v1/apply", data=body, headers=bearer(mesh)) as response:
        assert response.status == status
        error = (await response.json())["error"]
        assert error["code"] in {"invalid", "too-large"}
    assert len(mesh.store.revisions) == 1


async def test_no_secret_is_logged(mesh: FakeMesh, raw: aiohttp.ClientSession) -> None:
    with structlog.testing.capture_logs() as logs:
        async with raw.post("/api/v1/tokens", json={"service": "orders"}, headers=bearer(mesh)) as response:
            join_token = (await response.json())["token"]
        async with raw.get(STATUS, headers={"Authorization": "Bearer wrong-secret"}):
            pass
    text = json.dumps(logs, default=str)
    assert {"operation": "create_token", "status": 200}.items() <= logs[0].items()
    assert any(entry.get("reason") == "token" for entry in logs)
    for secret in (mesh.token, join_token, "wrong-secret"):
        assert secret not in text


async def test_the_admin_token_file_is_private_and_reused(mesh: FakeMesh, tmp_path: Path) -> None:
    path = mesh.state / "admin.token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(mesh.token) >= 43
    path.chmod(0o644)
    assert ensure_token(mesh.state) == mesh.token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_token(tmp_path / "other") != mesh.token
    path.write_text("short")
    with pytest.raises(InputError, match="too short"):
        ensure_token(mesh.state)


def test_a_path_token_permits_its_path_only() -> None:
    guard = RequestGuard("the admin's", path_tokens={"/api/v1/prometheus/targets": "prometheus's"})

    def permitted(path: str, token: str) -> bool:
        headers = {"Host": "localhost", "Authorization": f"Bearer {token}"}
        return guard.refusal(headers, path, public=False) is None

    assert permitted("/api/v1/prometheus/targets", "prometheus's")
    assert permitted("/api/v1/prometheus/targets", "the admin's")
    assert permitted("/api/v1/status", "the admin's")
    assert not permitted("/api/v1/status", "prometheus's")
    assert not permitted("/api/v1/prometheus/targets", "another's")
    assert not permitted("/api/v1/status", "")


# --- the read-only token ----------------------------------------------------------------------------

READ_ONLY = frozenset(
    {"status", "instances", "proxies", "wait", "topology", "edge_history", "services", "service_history"}
    | {"policies", "policies_of_kind", "policy", "history", "revision", "diff", "lint", "events", "requests"}
    | {"moment"}
    | {"push", "proxy_stats", "proxy_config", "log_level", "prometheus_targets", "traces", "trace", "explain"}
    | {
        "service_policies",
        "restart_status",
        "check_access",
        "explain_call",
        "access_matrix",
        "observed_calls",
        "refusals",
        "rollouts",
    }
    | {"jaeger_services", "jaeger_operations", "jaeger_traces", "jaeger_trace", "jaeger_dependencies"}
)
"""Operations that the read-only token permits."""

ADMIN_ONLY = frozenset(
    {
        "apply",
        "delete",
        "rollback",
        "steer_rollout",
        "set_log_level",
        "tap",
        "proxy_logs",
        "begin_restart",
        "probe_access",
        "probe_explained",
        "evict_proxy",
        "change_push",
        "forget_service",
    }
    | {"create_token", "tokens", "revoke_token"}
)
"""The others: they change the mesh or a proxy, may expose secrets, or decide who may join."""

PATH_VALUES = {"kind": "Retry", "revision": "1", "service": "orders", "caller": "web", "callee": "orders"}
PATH_VALUES |= {"name": "orders-1", "id": "0af7651916cd43dd8448eb211c80319c"}

CALLS: dict[str, ApiCall] = {
    "status": calls.status(),
    "instances": calls.instances(),
    "proxies": calls.proxies(),
    "proxy_stats": calls.proxy_stats("orders-1"),
    "proxy_config": calls.proxy_config("orders-1"),
    "log_level": calls.log_level("orders-1"),
    "wait": calls.wait(0, 0),
    "topology": calls.topology(),
    "moment": calls.moment(1_700_000_000.5),
    "edge_history": calls.edge_history("web", "orders"),
    "services": calls.services(),
    "service_history": calls.service_history("orders"),
    "service_policies": calls.service_policies("orders", "web"),
    "check_access": calls.check_access({"service": "orders"}),
    "probe_explained": calls.probe_explained({"service": "orders"}),
    "explain_call": calls.explain_call({"service": "orders"}),
    "probe_access": calls.probe_access({"service": "orders"}),
    "access_matrix": calls.access_matrix(),
    "observed_calls": calls.observed_calls(60),
    "policies": calls.policies(),
    "history": calls.history(),
    "revision": calls.revision(1),
    "diff": calls.diff([SourcedDocument({"kind": "Retry"})]),
    "lint": calls.lint(),
    "push": calls.push(),
    "change_push": calls.change_push("pause", "ana", "why"),
    "events": calls.events(),
    "requests": calls.requests(),
    "refusals": calls.refusals(),
    "explain": calls.explain("0af7651916cd"),
    "traces": calls.traces(),
    "trace": calls.trace("0af7651916cd"),
    "apply": calls.apply([SourcedDocument({"kind": "Retry"})], calls.ChangeOptions(dry_run=True)),
    "delete": calls.delete([DocumentRef("Retry", "again")]),
    "rollback": calls.rollback(1),
    "rollouts": calls.rollouts(),
    "steer_rollout": calls.steer_rollout("orders", "pause"),
    "restart_status": calls.restart_status("orders-1"),
    "begin_restart": calls.begin_restart("orders-1"),
    "set_log_level": calls.set_log_level("orders-1", "debug"),
    "forget_service": calls.forget_service("orders"),
    "evict_proxy": calls.evict_proxy("orders-1", "ana", "why"),
    "proxy_logs": calls.proxy_logs("orders-1"),
    "tap": calls.tap("orders"),
    "create_token": calls.create_token("service", "orders", 60),
    "tokens": calls.tokens(),
    "revoke_token": calls.revoke_token("id-1"),
}
"""One call of every operation in `calls`."""


async def assert_denied(mesh: FakeMesh, response: aiohttp.ClientResponse, operation: str) -> None:
    """The response is the one-line error for the read-only token; nothing changed, no command was sent."""
    assert response.status == 403
    error = (await response.json())["error"]
    assert error["code"] == "refused"
    assert error["message"] == f"this token is read-only: {operation} requires the admin token"
    assert (len(mesh.store.revisions), mesh.tokens.tokens, mesh.commands) == (1, {}, [])


def test_every_route_and_every_call_is_either_read_only_or_admin_only() -> None:
    """A new one is admin-only until somebody decides otherwise, here too."""
    assert not READ_ONLY & ADMIN_ONLY
    assert {route.operation_id for route in ROUTES} == READ_ONLY | ADMIN_ONLY
    functions = {name for name, member in inspect.getmembers(calls, inspect.isfunction) if is_call(member)}
    assert CALLS.keys() == functions


def is_call(function: Callable[..., object]) -> bool:
    """Whether it returns an ApiCall."""
    return bool(function.__annotations__.get("return") == "ApiCall")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_the_read_only_token_permits_read_only_routes_and_no_others(
    mesh: FakeMesh, raw: aiohttp.ClientSession, route: Route, accept: str
) -> None:
    path = re.sub(r"{(\w+)}", lambda match: PATH_VALUES[match[1]], route.full_path)
    headers = {"Authorization": f"Bearer {mesh.read_token}", "Accept": accept}
    async with raw.request(route.method, path, json={}, headers=headers) as response:
        if route.operation_id in ADMIN_ONLY:
            await assert_denied(mesh, response, route.operation_id)
        else:
            assert response.status in {200, 400, 404}
    assert len(mesh.store.revisions) == 1


@pytest.mark.parametrize("operation", CALLS)
async def test_the_read_only_token_permits_read_only_calls_and_no_others(
    mesh: FakeMesh, raw: aiohttp.ClientSession, operation: str
) -> None:
    call, headers = CALLS[operation], {"Authorization": f"Bearer {mesh.read_token}"}
    async with raw.request(call.method, call.path, json=call.body, headers=headers) as response:
        if operation in ADMIN_ONLY:
            await assert_denied(mesh, response, operation)
        else:
            assert response.status in {200, 400, 404, 422}


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
async def test_no_spelling_of_a_path_bypasses_the_read_only_token(
    mesh: FakeMesh, method: str, path: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {mesh.read_token}", "X-HTTP-Method-Override": "POST"}
    url = URL(mesh.url + path, encoded=True)
    async with aiohttp.request(method, url, json={}, headers=headers) as response:
        assert response.status == status
    assert (len(mesh.store.revisions), mesh.commands) == (1, [])


async def test_the_status_contains_the_callers_rights(mesh: FakeMesh) -> None:
    async with Client(mesh.endpoint) as admin, Client(mesh.read_only_endpoint) as reader:
        for _ in range(2):
            assert (await admin.status()).rights == "all"
            assert (await reader.status()).rights == "read"


def test_the_read_only_token_is_created_or_configured_and_never_the_admin_token(tmp_path: Path) -> None:
    admin_token = ensure_token(tmp_path)
    created = ensure_read_token(tmp_path, "", admin_token)
    assert created != admin_token
    assert created == ensure_read_token(tmp_path, "", admin_token)
    assert stat.S_IMODE((tmp_path / "read.token").stat().st_mode) == 0o600
    configured = tmp_path / "configured"
    configured.write_text("a secret of the operator's\n")
    configured.chmod(0o600)
    assert ensure_read_token(tmp_path, str(configured), admin_token) == "a secret of the operator's"
    for path, file in ((configured, str(configured)), (tmp_path / "read.token", "")):
        path.write_text(admin_token + "\n")
        with pytest.raises(InputError, match=f"{path}: this is the admin token"):
            ensure_read_token(tmp_path, file, admin_token)
    configured.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        ensure_read_token(tmp_path, str(configured), admin_token)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Basic {read_token}", "Bearer {read_token}x", "Bearer {half}"]
)
async def test_a_part_of_the_read_only_token_permits_nothing(
    mesh: FakeMesh, raw: aiohttp.ClientSession, authorization: str
) -> None:
    header = authorization.format(read_token=mesh.read_token, half=mesh.read_token[:20])
    async with raw.get(STATUS, headers={"Authorization": header}) as response:
        assert response.status == 401


def test_without_a_read_only_token_an_empty_one_permits_nothing() -> None:
    guard = RequestGuard("the admin's")
    for authorization in ("", "Bearer", "Bearer "):
        headers = {"Host": "localhost", "Authorization": authorization}
        assert guard.refusal(headers, "/api/v1/status", public=False, read_only=True) == "token"
        assert guard.rights(headers) is None
