"""Two control planes share a store, and sidecars are connected to either: each shows the whole mesh."""

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

from meshwright.control_plane.cluster.service import MEMBER_ID_HEADER, SERVICE
from meshwright.control_plane.store.embedded import locate
from tests.cli.joining import Joined, joined
from tests.envoy.harness import READY, ROOT, Mesh, running_mesh, service, settings, until
from tests.envoy.observe import addresses, api, metrics, states
from tests.fakes.relay import Relay, relay

SOON = 25.0
"""Seconds within which one that is gone is no longer waited for: it is silent for five, then passed over."""

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
    """`first` came up with `mesh up`; at `second` only `front-9` is. `made`: calls of back, by caller.

    `balancers` are where `front-9` reaches its control plane, by the name of the address.
    """

    first: Mesh
    second: Mesh
    far: Joined
    made: Counter[str]
    balancers: dict[str, Relay]


@contextlib.contextmanager
def another(first: Mesh, state: Path) -> Iterator[Mesh]:
    """A second control plane on the store and the root of the first."""
    path = first.state
    shared = {
        "MESH_REDIS_URL": locate(path).url,
        "MESH_REDIS_PASSWORD_FILE": str(path / "store" / "password"),
        "MESH_CA_CERTIFICATE": str(path / "ca" / "root.pem"),
        "MESH_CA_KEY": str(path / "ca" / "root.key"),
    }
    environment = settings(state, **shared)
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
    """Have those that join a mesh reach it by a TCP balancer."""
    mesh_addresses = addresses(mesh)
    with contextlib.ExitStack() as stack:
        names = ("xds", "enrolment", "otlp")
        relays = {name: stack.enter_context(relay(getattr(mesh_addresses, name))) for name in names}
        by = mesh_addresses.model_copy(update={name: item.address for name, item in relays.items()})
        (mesh.state / "mesh.json").write_text(by.model_dump_json())
        yield relays


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("planes")
    app = (sys.executable, "-m", "tests.fakes.app")
    with (
        running_mesh(folder, [service("front"), service("back")]) as first,
        another(first, folder / "second") as second,
        balanced(second) as balancers,
        joined(second, "front-9", "front", "--port", "0", run=app) as far,
    ):
        first.apply(SAMPLED)
        until(
            lambda: {plane["state"] for plane in planes(first)} == {"this", "reachable"},
            "they answer each other",
        )
        yield Pair(first, second, far, Counter(), balancers)


def planes(mesh: Mesh) -> list[dict[str, Any]]:
    return list(api(mesh, "/api/v1/status").json()["control_planes"])


def told(mesh: Mesh, path: str) -> Any:
    return api(mesh, f"/api/v1{path}").json()


def same(pair: Pair, look: Callable[[Mesh], Any], right: Callable[[Any], object], what: str) -> Any:
    """What both see, once it is right; what they then see must be the same."""

    last: list[Any] = []

    def seen() -> Any:
        last[:] = look(pair.first), look(pair.second)
        return last[0] if right(last[0]) and last[0] == last[1] else None

    try:
        return until(seen, what)
    except AssertionError as late:
        raise AssertionError(f"{late}: {last}") from None


def call(pair: Pair, caller: str, count: int = 1) -> None:
    """Calls of `back` from a sidecar that is connected to the first control plane, or to the second."""
    port = pair.far.port("outbound") if caller == "front-9" else pair.first.ports(caller)["outbound"]
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": f"http://127.0.0.1:{port}"}
        for _ in range(count):
            response = session.get("http://back/echo", timeout=30)
            assert response.status_code == 200
    pair.made[caller] += count


def counted(mesh: Mesh) -> int:
    """All that is known of the calls from front to back."""
    response = api(mesh, "/api/v1/topology/front/back")
    return round(sum(point["requests"] for point in response.json()["points"])) if response.ok else 0


def all_counted(pair: Pair) -> None:
    """Both know of each call that was made, once."""
    expected = pair.made.total()
    same(pair, counted, lambda result: result >= expected, f"the history of {pair.made}")
    assert counted(pair.first) == counted(pair.second) == expected


def test_every_proxy_and_policy_is_known_at_both(pair: Pair) -> None:
    names = {"ingress", "front-1", "front-9", "back-1"}
    same(pair, states, lambda result: result == dict.fromkeys(names, "synced"), "every proxy")
    same(
        pair,
        lambda mesh: {proxy["name"]: proxy["version"] for proxy in told(mesh, "/proxies")["proxies"]},
        lambda result: set(result) == names and all(result.values()),
        "what every sidecar tells of itself",
    )
    call(pair, "front-1")
    call(pair, "front-9")
    pair.first.apply(RETRY % 2)
    words = {"all": "4 of 4 sidecars have it", "back": "2 of 2 sidecars have it"}
    same(
        pair,
        lambda mesh: {
            policy["name"]: policy["conditions"][-1]["message"]
            for policy in told(mesh, "/status")["policies"]
        },
        lambda result: result == words,
        "the status of policies",
    )


def test_an_apply_waits_for_sidecars_of_both(pair: Pair) -> None:
    for number, mesh in enumerate(pair[:2]):
        revision = mesh.apply(RETRY % (4 + number))
        result = {proxy["name"]: proxy["revision"] for proxy in told(mesh, "/status")["proxies"]}
        assert result == dict.fromkeys(result, revision)
        assert len(result) == 4


def test_a_dry_run_names_sidecars_of_both(pair: Pair) -> None:
    for mesh in pair[:2]:
        stdout = mesh.run("apply", "-f", "-", "--dry-run", stdin=RETRY % 9).stdout
        assert "affected proxies: front-1, front-9\n" in stdout


def test_calls_are_counted_once_and_at_both(pair: Pair) -> None:
    call(pair, "front-1", CALLS)
    call(pair, "front-9", CALLS)
    all_counted(pair)
    edge = [("front", "back")]
    same(
        pair,
        lambda mesh: [
            (current_edge["from"], current_edge["to"]) for current_edge in told(mesh, "/topology")["edges"]
        ],
        lambda result: result == edge,
        "the edge",
    )
    for mesh in pair[:2]:
        nodes = {node["name"]: node["health"] for node in told(mesh, "/topology")["nodes"]}
        assert nodes == dict.fromkeys(("back", "front", "ingress"), "healthy")


def test_a_trace_that_is_apart_is_whole_at_both(pair: Pair) -> None:
    call(pair, "front-9")

    def whole(mesh: Mesh) -> list[tuple[str, int]]:
        traces = told(mesh, "/traces?service=front&limit=1")["traces"]
        return [(item["id"], item["spans"]) for item in traces]

    (newest,) = same(pair, whole, lambda result: result and result[0][1] >= 4, "the newest trace")
    tree = same(pair, lambda mesh: told(mesh, f"/traces/{newest[0][:12]}"), bool, "the whole trace")
    spans = tree["tree"]
    assert {span["service"] for span in spans} == {"front", "back"}
    assert [span["depth"] for span in spans] == list(range(len(spans)))
    same(
        pair,
        lambda mesh: api(mesh, "/api/dependencies").json()["data"],
        lambda result: ("front", "back") in {(item["parent"], item["child"]) for item in result},
        "who calls whom",
    )


def test_any_proxy_is_asked_through_either(pair: Pair) -> None:
    for mesh in pair[:2]:
        for name in ("front-1", "front-9", "ingress"):
            assert told(mesh, f"/proxies/{name}/stats?filter=server.live")["stats"] == {"server.live": 1}
        wrong = api(mesh, "/api/v1/proxies/front-8/stats")
        assert (wrong.status_code, "did you mean front-" in wrong.json()["error"]["message"]) == (404, True)
        bad = api(mesh, "/api/v1/proxies/front-9/stats?filter=(")
        assert (bad.status_code, "Invalid re2 regex" in bad.json()["error"]["message"]) == (400, True)
    assert "resets in" in pair.first.run("proxy", "front-9", "log-level", "debug", "--for", "5s").stdout
    words = "log level set to debug for 5 s"
    until(lambda: words in pair.second.run("events", "--kind", "sidecar").stdout, "it is an event")
    until(lambda: told(pair.second, "/proxies/front-9/log-level")["level"] == "warning", "it has returned")


def test_nobody_but_a_control_plane_may_ask_for_a_part(pair: Pair) -> None:
    folder = pair.first.state / "sidecars" / "front-1"
    secret = json.loads((folder / "identity.json").read_text())["resources"][0]["tls_certificate"]
    certificate, key = (
        secret[name]["inline_string"].encode() for name in ("certificate_chain", "private_key")
    )
    roots = (pair.first.state / "ca" / "root.pem").read_bytes()
    credentials = grpc.ssl_channel_credentials(roots, key, certificate)
    options = (("grpc.ssl_target_name_override", "control-plane.mesh"),)
    with grpc.secure_channel(addresses(pair.first).xds, credentials, options) as channel:
        part = channel.unary_unary(f"/{SERVICE}/Part", None, None)
        with pytest.raises(grpc.RpcError) as refused:
            part(b"{}", timeout=10, metadata=((MEMBER_ID_HEADER, "any"),))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert metrics(pair.first)["mesh_peer_denied_total"] == 1
    assert metrics(pair.second)["mesh_peer_denied_total"] == 0


def test_one_that_hangs_is_passed_over_and_taken_in_again(pair: Pair) -> None:
    pair.second.process.send_signal(signal.SIGSTOP)
    try:
        call(pair, "front-1", CALLS)
        until(lambda: "front-9" not in states(pair.first), "its sidecar is out of the picture", SOON)
        assert "reachable" not in [plane["state"] for plane in planes(pair.first)]
        begun = time.monotonic()
        assert pair.first.apply(RETRY % 1)
        assert told(pair.first, "/traces?limit=1")["traces"]
        assert time.monotonic() - begun < SOON
        assert metrics(pair.first)["mesh_peers_reachable"] == 0
    finally:
        pair.second.process.send_signal(signal.SIGCONT)
    all_counted(pair)
    same(pair, states, lambda result: len(result) == 4, "every proxy")


def test_one_that_dies_is_forgotten_and_its_sidecars_go_to_another(pair: Pair) -> None:
    os.kill(pair.second.process.pid, signal.SIGKILL)
    pair.second.process.wait(10)
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

    def tells() -> bool:
        call(pair, "front-9")
        return counted(pair.first) > number

    until(tells, "its sidecar tells the other of its calls", every=0.5)


def test_one_that_comes_is_found_and_takes_the_histories_over(pair: Pair) -> None:
    with another(pair.first, pair.second.state) as again:
        until(lambda: len(planes(again)) == 2, "it finds the other")
        until(lambda: "front-1" in states(again), "it knows the sidecars of the other")
        renewed = pair._replace(second=again)

        def histories(mesh: Mesh) -> tuple[int, int]:
            """All calls of the edge, and of the service by its trend."""
            points = told(mesh, "/services/back/history").get("points", ())  # none while it is not known
            return counted(mesh), round(sum(float(point["requests"]) for point in points))

        same(renewed, histories, lambda result: result[0] == result[1] > 2 * CALLS, "the histories")
