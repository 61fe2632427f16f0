"""Two control planes share a store, with sidecars connected to either: each shows the complete mesh."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import requests

from meshwright.control_plane.cluster.methods import GET_STATE, SERVICE
from meshwright.control_plane.cluster.service import MEMBER_ID_HEADER
from meshwright.control_plane.store.embedded import locate
from tests.cli.joining import Joined, joined
from tests.envoy.harness import READY, ROOT, Mesh, running_mesh, service, settings, until
from tests.envoy.mesh_api import addresses, api, metrics, states
from tests.fakes.relay import Relay, relay

SOON = 25.0
"""Seconds within which an unreachable control plane is skipped. It takes about five."""

CALLS = 40

SAMPLED = """
apiVersion: meshwright.io/v1
kind: Telemetry
metadata: {name: all}
spec: {targetRefs: [{kind: Mesh}], sampling: 100}
"""

RETRY = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], attempts: %d}
"""


class Pair(NamedTuple):
    """`first` was started by `mesh up`; only `front-9` is connected to `second`. `calls`: of back, by caller.

    `balancers`: the relays through which `front-9` reaches its control plane, by the name of the address.
    """

    first: Mesh
    second: Mesh
    far: Joined
    calls: Counter[str]
    balancers: dict[str, Relay]


@contextlib.contextmanager
def second_control_plane(first: Mesh, state: Path, **more: str) -> Iterator[Mesh]:
    """A control plane with the store, the root certificate and the key of join tokens of the first."""
    path = first.state
    shared = {
        "MESH_REDIS_URL": locate(path).url,
        "MESH_REDIS_PASSWORD_FILE": str(path / "store" / "password"),
        "MESH_CA_CERTIFICATE": str(path / "ca" / "root.pem"),
        "MESH_CA_KEY": str(path / "ca" / "root.key"),
        "MESH_CA_TOKENS_KEY": str(path / "ca" / "tokens.key"),
    }
    environment = settings(state, **shared, **more)
    (state / "mesh.json").unlink(missing_ok=True)
    with (state.parent / "second.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "meshwright.control_plane"],
            stdout=log, stderr=log, text=True, env=environment, cwd=ROOT,
        )  # fmt: skip
    try:
        until(lambda: (state / "mesh.json").exists() or process.poll() is not None, "it listens", READY)
        yield Mesh(state, process, 0, environment)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def balanced(mesh: Mesh) -> Iterator[dict[str, Relay]]:
    """Make sidecars that join later reach this mesh through TCP relays."""
    mesh_addresses = addresses(mesh)
    with contextlib.ExitStack() as stack:
        names = ("xds", "enrolment", "otlp")
        relays = {name: stack.enter_context(relay(getattr(mesh_addresses, name))) for name in names}
        balanced_addresses = mesh_addresses.model_copy(
            update={name: relay.address for name, relay in relays.items()}
        )
        (mesh.state / "mesh.json").write_text(balanced_addresses.model_dump_json())
        yield relays


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("planes")
    app = (sys.executable, "-m", "tests.fakes.app")
    with (
        running_mesh(folder, [service("front"), service("back")]) as first,
        second_control_plane(first, folder / "second") as second,
        balanced(second) as balancers,
        joined(second, "front-9", "front", "--port", "0", run=app) as far,
    ):
        first.apply(SAMPLED)
        until(
            lambda: {plane["state"] for plane in planes(first)} == {"this", "reachable"},
            "they reach each other",
        )
        yield Pair(first, second, far, Counter(), balancers)


def planes(mesh: Mesh) -> list[dict[str, Any]]:
    return list(api(mesh, "/api/v1/status").json()["control_planes"])


def get_json(mesh: Mesh, path: str) -> Any:
    return api(mesh, f"/api/v1{path}").json()


def same(pair: Pair, read: Callable[[Mesh], Any], is_ready: Callable[[Any], object], what: str) -> Any:
    """The value that both return, once it is ready and equal."""

    last: list[Any] = []

    def equal() -> Any:
        last[:] = read(pair.first), read(pair.second)
        return last[0] if is_ready(last[0]) and last[0] == last[1] else None

    try:
        return until(equal, what)
    except AssertionError as late:
        raise AssertionError(f"{late}: {last}") from None


def call(pair: Pair, caller: str, count: int = 1) -> None:
    """Call `back` from front-1 (connected to the first control plane) or front-9 (to the second)."""
    port = pair.far.port("outbound") if caller == "front-9" else pair.first.ports(caller)["outbound"]
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": f"http://127.0.0.1:{port}"}
        for _ in range(count):
            response = session.get("http://back/echo", timeout=30)
            assert response.status_code == 200
    pair.calls[caller] += count


def counted(mesh: Mesh) -> int:
    """Requests from front to back in the history."""
    response = api(mesh, "/api/v1/topology/front/back")
    return round(sum(point["requests"] for point in response.json()["points"])) if response.ok else 0


def all_counted(pair: Pair) -> None:
    """Both count every call once."""
    expected = pair.calls.total()
    same(pair, counted, lambda result: result >= expected, f"the history of {pair.calls}")
    assert counted(pair.first) == counted(pair.second) == expected


def test_proxies_and_policies_are_the_same_at_both(pair: Pair) -> None:
    names = {"ingress", "front-1", "front-9", "back-1"}
    same(pair, states, lambda result: result == dict.fromkeys(names, "synced"), "every proxy")
    same(
        pair,
        lambda mesh: {proxy["name"]: proxy["version"] for proxy in get_json(mesh, "/proxies")["proxies"]},
        lambda result: set(result) == names and all(result.values()),
        "the report of every sidecar",
    )
    call(pair, "front-1")
    call(pair, "front-9")
    pair.first.apply(RETRY % 2)
    messages = {"all": "accepted by 4 of 4 proxies", "back": "accepted by 2 of 2 proxies"}
    same(
        pair,
        lambda mesh: {
            policy["name"]: policy["conditions"][-1]["message"]
            for policy in get_json(mesh, "/status")["policies"]
        },
        lambda result: result == messages,
        "the status of policies",
    )


def test_apply_waits_for_sidecars_of_both(pair: Pair) -> None:
    for number, mesh in enumerate(pair[:2]):
        revision = mesh.apply(RETRY % (4 + number))
        result = {proxy["name"]: proxy["revision"] for proxy in get_json(mesh, "/status")["proxies"]}
        assert result == dict.fromkeys(result, revision)
        assert len(result) == 4


def test_dry_run_names_sidecars_of_both(pair: Pair) -> None:
    for mesh in pair[:2]:
        stdout = mesh.run("apply", "-f", "-", "--dry-run", stdin=RETRY % 9).stdout
        assert "affected proxies: front-1, front-9\n" in stdout


def test_calls_are_counted_once_at_both(pair: Pair) -> None:
    call(pair, "front-1", CALLS)
    call(pair, "front-9", CALLS)
    all_counted(pair)
    same(
        pair,
        lambda mesh: [(edge["from"], edge["to"]) for edge in get_json(mesh, "/topology")["edges"]],
        lambda result: result == [("front", "back")],
        "the edge",
    )
    for mesh in pair[:2]:
        nodes = {node["name"]: node["health"] for node in get_json(mesh, "/topology")["nodes"]}
        assert nodes == dict.fromkeys(("back", "front", "ingress"), "healthy")


def test_trace_with_spans_at_both_is_complete_at_both(pair: Pair) -> None:
    call(pair, "front-9")

    def newest_trace(mesh: Mesh) -> list[tuple[str, int]]:
        traces = get_json(mesh, "/traces?service=front&limit=1")["traces"]
        return [(trace["id"], trace["spans"]) for trace in traces]

    (newest,) = same(pair, newest_trace, lambda result: result and result[0][1] >= 4, "the newest trace")
    tree = same(pair, lambda mesh: get_json(mesh, f"/traces/{newest[0][:12]}"), bool, "the complete trace")
    spans = tree["tree"]
    assert {span["service"] for span in spans} == {"front", "back"}
    assert [span["depth"] for span in spans] == list(range(len(spans)))
    same(
        pair,
        lambda mesh: api(mesh, "/api/dependencies").json()["data"],
        lambda result: (
            ("front", "back") in {(dependency["parent"], dependency["child"]) for dependency in result}
        ),
        "the dependency",
    )


def test_commands_reach_any_proxy_through_either(pair: Pair) -> None:
    for mesh in pair[:2]:
        for name in ("front-1", "front-9", "ingress"):
            assert get_json(mesh, f"/proxies/{name}/stats?filter=server.live")["stats"] == {"server.live": 1}
        wrong = api(mesh, "/api/v1/proxies/front-8/stats")
        assert (wrong.status_code, "did you mean front-" in wrong.json()["error"]["message"]) == (404, True)
        bad = api(mesh, "/api/v1/proxies/front-9/stats?filter=(")
        assert (bad.status_code, "Invalid re2 regex" in bad.json()["error"]["message"]) == (400, True)
    assert "resets in" in pair.first.run("proxy", "front-9", "log-level", "debug", "--for", "5s").stdout
    message = "log level set to debug for 5 s"
    until(lambda: message in pair.second.run("events", "--kind", "sidecar").stdout, "it is an event")
    until(
        lambda: get_json(pair.second, "/proxies/front-9/log-level")["level"] == "warning", "it has returned"
    )


def test_sidecar_certificate_calls_the_cluster_service_is_denied(pair: Pair) -> None:
    folder = pair.first.state / "sidecars" / "front-1"
    secret = json.loads((folder / "identity.json").read_text())["resources"][0]["tls_certificate"]
    certificate, key = (
        secret[name]["inline_string"].encode() for name in ("certificate_chain", "private_key")
    )
    roots = (pair.first.state / "ca" / "root.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(roots, key, certificate)
    options = (("grpc.ssl_target_name_override", "control-plane.mesh"),)
    with grpc.secure_channel(addresses(pair.first).xds, credentials, options) as channel:
        get_state = channel.unary_unary(f"/{SERVICE}/{GET_STATE.name}", None, None)
        with pytest.raises(grpc.RpcError) as denied:
            get_state(b"", timeout=10, metadata=((MEMBER_ID_HEADER, "any"),))
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert metrics(pair.first)["mesh_peer_denied_total"] == 1
    assert metrics(pair.second)["mesh_peer_denied_total"] == 0


def test_control_plane_hangs_is_skipped_and_comes_back(pair: Pair) -> None:
    pair.second.process.send_signal(signal.SIGSTOP)
    try:
        call(pair, "front-1", CALLS)
        until(lambda: "front-9" not in states(pair.first), "its sidecar is no longer shown", SOON)
        assert "reachable" not in [plane["state"] for plane in planes(pair.first)]
        started = time.monotonic()
        assert pair.first.apply(RETRY % 1)
        assert get_json(pair.first, "/traces?limit=1")["traces"]
        assert time.monotonic() - started < SOON
        assert metrics(pair.first)["mesh_peers_reachable"] == 0
    finally:
        pair.second.process.send_signal(signal.SIGCONT)
    all_counted(pair)
    same(pair, states, lambda result: len(result) == 4, "every proxy")


def test_control_plane_dies_is_forgotten_and_its_sidecars_reconnect(pair: Pair) -> None:
    os.kill(pair.second.process.pid, signal.SIGKILL)
    pair.second.process.wait(60)
    for name, balancer in pair.balancers.items():
        balancer.target = getattr(addresses(pair.first), name)
    until(lambda: planes(pair.first) == [], "it is forgotten", 2 * SOON)
    names = {"ingress", "front-1", "front-9", "back-1"}
    until(
        lambda: states(pair.first) == dict.fromkeys(names, "synced"),
        f"its sidecar: {states(pair.first)}",
        2 * SOON,
    )
    number = counted(pair.first)

    def is_counted() -> bool:
        call(pair, "front-9")
        return counted(pair.first) > number

    until(is_counted, "its sidecar reports to the other control plane", every=0.5)


def test_new_control_plane_takes_over_the_history(pair: Pair) -> None:
    with second_control_plane(pair.first, pair.second.state) as new:
        until(lambda: len(planes(new)) == 2, "it finds the other")
        until(lambda: "front-1" in states(new), "it shows the sidecars of the other")
        renewed = pair._replace(second=new)

        def histories(mesh: Mesh) -> tuple[int, int]:
            """Requests of the edge, and of the service in its trend."""
            points = get_json(mesh, "/services/back/history").get(
                "points", ()
            )  # none while the service is unknown
            return counted(mesh), round(sum(float(point["requests"]) for point in points))

        same(renewed, histories, lambda result: result[0] == result[1] > 2 * CALLS, "the histories")
