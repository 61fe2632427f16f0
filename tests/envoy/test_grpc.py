"""gRPC with real sidecars: both ways to call, balancing per call, deadlines, retries, long streams."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import requests
import trustme

from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar.envoy_admin import EnvoyAdminClient
from tests.envoy import xds_lab
from tests.envoy.grpc_client import call, channel, status, statuses
from tests.envoy.harness import Mesh, running_mesh, service
from tests.envoy.mesh_policies import policy_document
from tests.envoy.routes.certificates import certificate, install
from tests.envoy.rule_counts import FAILED, FORWARDED, TIMES, rule_counts
from tests.fakes.ports import free_port

PORT = 50051
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: echo}
spec:
  parentRefs: [{kind: Service, name: echo}, {name: ingress}]
  rules:
    - matches: [{method: {service: fake.Echo, method: Count}}]
      backendRefs: [{group: meshwright.io, kind: Subset, name: second}]
    - matches: [{method: {service: fake.Echo}}]
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-routed, value: "yes"}]}}]
      backendRefs: [{name: echo}]
---
apiVersion: meshwright.io/v1
kind: Subset
metadata: {name: second}
spec: {service: echo, labels: {version: v2}}
"""
EDGE_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: echo}
spec: {parentRefs: [{name: ingress}], rules: [{backendRefs: [{name: echo}]}]}
"""
RETRY = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: echo}
spec:
  targetRefs: [{kind: Service, name: echo}]
  attempts: 3
  on: [unavailable, deadline-exceeded]
  perTryTimeout: 1s
"""
SAFE_RETRY = RETRY.replace("on: [unavailable, deadline-exceeded]", "on: [gateway-error, reset]")
TIMEOUT = """
apiVersion: meshwright.io/v1
kind: Timeout
metadata: {name: echo}
spec: {targetRefs: [{kind: Service, name: echo}], request: 500ms}
"""


def replica(version: str, port: int) -> dict[str, Any]:
    """A replica of the gRPC fake; callers may name it by `PORT`."""
    return {
        **service("echo", labels={"version": version}),
        "command": [sys.executable, "-m", "tests.fakes.grpc_app"],
        "ports": [{"name": "grpc", "protocol": "grpc", "port": port, "number": PORT}],
        "health": {"interval": "1s"},
    }


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), replica("v1", 0), replica("v2", 0)]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        yield running


@pytest.mark.parametrize("target", ["echo", "echo.mesh", f"echo:{PORT}", f"echo.mesh:{PORT}", "echo:80"])
async def test_unmodified_client_calls_through_connect(mesh: Mesh, target: str) -> None:
    async with channel(mesh, target) as through:
        response = await call(through)
    assert response["metadata"]["x-forwarded-client-cert"].endswith("URI=spiffe://mesh.local/service/front")


@pytest.mark.parametrize("authority", ["echo", "echo.mesh", f"echo:{PORT}"])
async def test_default_authority_selects_the_service(mesh: Mesh, authority: str) -> None:
    async with channel(mesh, authority=authority) as through:
        assert (await call(through))["name"] in ("echo-1", "echo-2")


@pytest.mark.parametrize("target", ["", "echo"])
async def test_calls_of_one_channel_are_balanced(mesh: Mesh, target: str) -> None:
    async with channel(mesh, target) as through:
        names = Counter([(await call(through))["name"] for _ in range(200)])
    assert set(names) == {"echo-1", "echo-2"}
    assert min(names.values()) > 60


async def test_unknown_service_fails_at_once(mesh: Mesh) -> None:
    async with channel(mesh, authority="nobody") as through:
        assert await status(through) is grpc.StatusCode.UNIMPLEMENTED
    async with channel(mesh, "nobody:80") as through:
        assert await status(through) is grpc.StatusCode.UNAVAILABLE


async def active(admin: EnvoyAdminClient, count: int) -> None:
    """Wait until this many calls are in flight."""

    async def so_many() -> bool:
        return await admin.active_requests() == count

    await xds_lab.until(so_many)


async def test_open_tunnel_does_not_count_as_a_call(mesh: Mesh) -> None:
    admin = EnvoyAdminClient(socket_path(mesh.state / "sidecars" / "front-1", "admin.sock"))
    try:
        async with channel(mesh, "echo") as through:
            await call(through)
            await active(admin, 0)
            slow = asyncio.create_task(call(through, delay=5))
            await active(admin, 1)
            assert not slow.done()
            await slow
    finally:
        await admin.close()


def test_https_to_a_mesh_name_is_refused_with_an_explanation(mesh: Mesh) -> None:
    proxies = {"https": f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}"}
    with pytest.raises(requests.ConnectionError, match="405"):
        requests.get("https://front/", proxies=proxies, timeout=60)


async def test_http_in_a_tunnel_is_routed(mesh: Mesh) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.ports("front-1")["outbound"])
    writer.write(b"CONNECT front:80 HTTP/1.1\r\nhost: front:80\r\n\r\n")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).startswith(b"HTTP/1.1 200")
    writer.write(b"GET /echo HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n")
    assert b'"path": "/echo"' in await asyncio.wait_for(reader.read(), 30)
    writer.close()


async def test_clients_deadline_is_enforced_to_the_millisecond(mesh: Mesh) -> None:
    async with channel(mesh) as through:
        start = time.monotonic()
        assert await status(through, within=0.5, delay=20) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - start < 10


async def test_timeout_ends_as_deadline_exceeded(mesh: Mesh) -> None:
    mesh.apply(TIMEOUT)
    try:
        async with channel(mesh) as through:
            start = time.monotonic()
            assert await status(through, delay=20) is grpc.StatusCode.DEADLINE_EXCEEDED
            assert time.monotonic() - start < 10
    finally:
        mesh.delete("Timeout", "echo")


@pytest.mark.parametrize("name", ["UNAVAILABLE", "DEADLINE_EXCEEDED"])
async def test_listed_status_is_retried_on_another_instance(mesh: Mesh, name: str) -> None:
    mesh.apply(RETRY)
    try:
        async with channel(mesh) as through:
            names = {(await call(through, fail=name, at="echo-1"))["name"] for _ in range(20)}
            assert names == {"echo-2"}
            assert await status(through, fail="INTERNAL") is grpc.StatusCode.INTERNAL
    finally:
        mesh.delete("Retry", "echo")


async def test_try_that_times_out_is_retried_on_another_instance(mesh: Mesh) -> None:
    mesh.apply(RETRY)
    try:
        async with channel(mesh) as through:
            names = [(await call(through, delay=15, at="echo-1"))["name"] for _ in range(6)]
        assert set(names) == {"echo-2"}
    finally:
        mesh.delete("Retry", "echo")


async def test_calls_are_not_retried_without_a_listed_status(mesh: Mesh) -> None:
    mesh.apply(SAFE_RETRY)
    try:
        async with channel(mesh) as through:
            before = await counted(mesh)
            for _ in range(10):
                assert await status(through, fail="UNAVAILABLE") is grpc.StatusCode.UNAVAILABLE
            assert await counted(mesh) - before == 10
    finally:
        mesh.delete("Retry", "echo")


async def counted(mesh: Mesh) -> int:
    """Calls of Echo that the two applications counted."""
    total = 0
    for name in ("echo-1", "echo-2"):
        target = f"127.0.0.1:{mesh.ports(name)['app.grpc']}"
        async with grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as direct:
            total += (await call(direct, "Count")).get("Echo", 0)
    return total


async def test_route_matches_by_method(mesh: Mesh) -> None:
    mesh.apply(ROUTE)
    try:
        async with channel(mesh, "echo") as through:
            assert (await call(through))["metadata"]["x-routed"] == "yes"
            for _ in range(10):
                await call(through, "Count")
            unknown = through.unary_unary("/other.Service/Get", None, None)
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await unknown(b"", timeout=60)
            assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        outside = f"127.0.0.1:{mesh.ingress_port}"
        async with grpc.aio.insecure_channel(outside, options=[("grpc.enable_http_proxy", 0)]) as through:
            assert (await call(through))["metadata"]["x-routed"] == "yes"
        await check_https(mesh)
    finally:
        mesh.run("delete", "GRPCRoute", "echo", "--wait")


async def test_statuses_decide_which_calls_of_a_rule_failed(mesh: Mesh) -> None:
    # A route of its own: Envoy adds up times every two seconds, so those of another test may still come.
    rule = "GRPCRoute/statuses/#2"
    mesh.apply(ROUTE.replace("metadata: {name: echo}", "metadata: {name: statuses}"))
    try:
        async with channel(mesh) as through:
            for name in ("NOT_FOUND", "INTERNAL", "UNAVAILABLE"):
                await status(through, fail=name)
            await call(through)
        expected = {(FORWARDED, rule): 4, (FAILED, rule): 2, (TIMES, rule): 4}
        await xds_lab.until(lambda: expected.items() <= rule_counts(mesh, "front-1").items())
    finally:
        mesh.run("delete", "GRPCRoute", "statuses", "--wait")


HTTPS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ingress}}
spec:
  gatewayClassName: any
  listeners:
  - {{name: http, port: 8080, protocol: HTTP}}
  - {{name: https, port: {port}, protocol: HTTPS, hostname: g.test, tls: {{certificateRefs: [{{name: g}}]}}}}
"""


async def check_https(mesh: Mesh) -> None:
    """The same route and streams work over HTTPS at the ingress."""
    authority, port = trustme.CA(), free_port()
    install(mesh, "g", authority.issue_cert("g.test"))
    mesh.apply(HTTPS.format(port=port) + certificate("g"))
    trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    options = [("grpc.ssl_target_name_override", "g.test"), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", trusted, options=options) as through:
        await through.unary_unary("/fake.Echo/Count", None, None)(b"{}", wait_for_ready=True, timeout=60)
        assert (await call(through))["metadata"]["x-routed"] == "yes"
        stream = through.unary_stream("/fake.Echo/Stream", None, None)
        received = [message async for message in stream(b'{"seconds": 0.2, "every": 0.1}', timeout=60)]
        assert received == [b"0", b"1", b"end"]
    mesh.run("delete", "Gateway", "ingress", "--wait")


@pytest.mark.parametrize("target", ["", "echo"])
async def test_thousand_concurrent_calls_succeed(mesh: Mesh, target: str) -> None:
    async with channel(mesh, target) as through:
        responses = await asyncio.gather(*(call(through, within=60, delay=0.5) for _ in range(1000)))
    assert len(responses) == 1000
    assert {response["name"] for response in responses} == {"echo-1", "echo-2"}


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.long)])
async def test_a_long_stream_survives_policy_changes(mesh: Mesh, seconds: int) -> None:
    """In both directions, while routes, other clusters and retries change."""
    encode = json.dumps({"seconds": seconds, "every": 0.5}).encode()

    async def listen(target: str) -> list[bytes]:
        async with channel(mesh, target) as through:
            stream = through.unary_stream("/fake.Echo/Stream", None, None)
            return [message async for message in stream(encode, timeout=120)]

    async def change() -> None:
        await asyncio.sleep(2)
        await asyncio.to_thread(mesh.apply, ROUTE)
        await asyncio.to_thread(mesh.apply, TIMEOUT.replace("500ms", "1h"))
        await asyncio.to_thread(mesh.delete, "Timeout", "echo")
        await asyncio.to_thread(mesh.delete, "GRPCRoute", "echo")

    *datases, _ = await asyncio.gather(listen(""), listen("echo"), change())
    for received in datases:
        assert received == [*(str(number).encode() for number in range(2 * seconds)), b"end"]


async def test_bidirectional_stream(mesh: Mesh) -> None:
    async with channel(mesh, "echo") as through:
        stream_stream: Any = through.stream_stream("/fake.Echo/Both", None, None)
        conversation = stream_stream()
        for message in (b"a", b"b"):
            await conversation.write(message)
            text = await asyncio.wait_for(conversation.read(), 30)
            assert text.endswith(b": " + message)
        await conversation.done_writing()
        assert await conversation.read() is grpc.aio.EOF  # type: ignore[attr-defined]


def echo_rule(caller: dict[str, Any], *methods: str) -> dict[str, Any]:
    return {
        "from": [caller],
        "to": [{"grpc": [{"service": "fake.Echo", "method": name} for name in methods]}],
    }


def rules(name: str, target: str, *entries: dict[str, Any]) -> str:
    return policy_document("Authorization", name, target, rules=entries)


async def test_rules_by_service_method_and_caller_refuse_calls_of_every_kind_and_cut_no_stream(
    mesh: Mesh,
) -> None:
    """At the service, and at a gateway by its GRPCRoute."""
    front, ingress = {"services": ["front"]}, {"gateways": ["ingress"]}
    every = ("Echo", "Count", "Stream", "Collect", "Both")

    def verdicts(*allowed: str) -> dict[str, str]:
        return {name: "OK" if name in allowed else "PERMISSION_DENIED" for name in every}

    outside = grpc.aio.insecure_channel(
        f"127.0.0.1:{mesh.ingress_port}", options=[("grpc.enable_http_proxy", 0)]
    )
    await asyncio.to_thread(mesh.apply, EDGE_ROUTE)
    try:
        async with channel(mesh, "echo") as through, outside:
            numbers = through.unary_stream("/fake.Echo/Stream", None, None)(b'{"seconds": 600, "every": 0.2}')
            begin: Any = through.stream_stream("/fake.Echo/Both", None, None)
            conversation = begin()
            assert await numbers.read() == b"0"
            service_rules = (
                echo_rule(front, "Echo", "Stream", "Collect"),
                echo_rule(ingress, "Count", "Both"),
            )
            await asyncio.to_thread(mesh.apply, rules("calls", "{kind: Service, name: echo}", *service_rules))
            assert await statuses(through) == verdicts("Echo", "Stream", "Collect")
            assert await statuses(outside) == verdicts("Count", "Both")
            route_rules = {"action": "deny", "to": [{"grpc": [{"service": "fake.Echo", "method": "Both"}]}]}
            await asyncio.to_thread(mesh.apply, rules("edge", "{kind: GRPCRoute, name: echo}", route_rules))
            assert await statuses(outside) == verdicts("Count")
            await asyncio.to_thread(
                mesh.apply, rules("calls", "{kind: Service, name: echo}", echo_rule(ingress, "Count"))
            )
            assert await statuses(through) == verdicts(), "rules name the gateway alone"
            for _ in range(3):
                assert await numbers.read(), "the stream that began before goes on"
                await conversation.write(b"a")
                assert (await asyncio.wait_for(conversation.read(), 60)).endswith(b": a")
    finally:
        for name in ("calls", "edge"):
            await asyncio.to_thread(mesh.run, "delete", "Authorization", name, "--wait", check=False)
        await asyncio.to_thread(mesh.delete, "GRPCRoute", "echo")


async def test_calls_of_every_kind_leave_the_mesh_through_a_gateway(mesh: Mesh) -> None:
    port = mesh.ports("echo-1")["app.grpc"]
    ports = (
        f"ports: [{{port: 9000, protocol: grpc, targetPort: {port}}}], endpoints: [{{address: 127.0.0.1}}]"
    )
    spec = f"hosts: [echo.example], {ports}, via: {{name: ingress}}"
    head = "apiVersion: meshwright.io/v1\nkind: ExternalService\nmetadata: {name: echo}\n"
    await asyncio.to_thread(mesh.apply, f"{head}spec: {{{spec}}}\n")
    try:
        async with channel(mesh, "echo.example:9000") as through:
            assert set((await statuses(through)).values()) == {"OK"}
            assert "x-forwarded-client-cert" not in (await call(through))["metadata"]
    finally:
        await asyncio.to_thread(mesh.delete, "ExternalService", "echo")
