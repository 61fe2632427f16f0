"""Policies change under load: no request fails, shares follow the weights, and long streams survive.

All the time, requests go through a sidecar and through the ingress, with the same route for both.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest
import requests

from tests.cli.joining import command, starting
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.wrk import Load, outside, responses, shares, steady, through

TOLERANCE = 3.0
"""The tolerance of a share of 5,000 requests, in percentage points."""

VERSIONS = ("back-1", "back-2", "back-3")
STREAM_SECONDS = 60


def subset(name: str, version: str) -> str:
    """A Subset of the service `back`."""
    return f"""
apiVersion: meshwright.io/v1
kind: Subset
metadata: {{name: {name}}}
spec: {{service: back, labels: {{version: {version}}}}}
"""


def route(*rules: str) -> str:
    """A route for calls to `back` from the mesh and from the ingress."""
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: back}}
spec:
  parentRefs: [{{kind: Service, name: back}}, {{kind: Gateway, name: ingress}}]
  rules: [{", ".join(rules)}]
"""


def split(**weights: int) -> str:
    """A rule that sends all requests to subsets by weight."""
    refs = ", ".join(
        f"{{group: meshwright.io, kind: Subset, name: {name}, weight: {weight}}}"
        for name, weight in weights.items()
    )
    return f"{{backendRefs: [{refs}]}}"


def for_testers(name: str) -> str:
    """A rule that sends requests of testers to one subset."""
    ref = f"{{group: meshwright.io, kind: Subset, name: {name}}}"
    return f"{{matches: [{{headers: [{{name: x-tester, value: 'yes'}}]}}], backendRefs: [{ref}]}}"


class Stream:
    """A long streaming response, read by a thread."""

    def __init__(self, session: requests.Session, url: str) -> None:
        self.lines: list[str] = []
        self.error = ""
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._read, args=(session, url), daemon=True)
        self._thread.start()

    def _read(self, session: requests.Session, url: str) -> None:
        start = time.monotonic()
        try:
            with session.get(f"{url}/stream?seconds={STREAM_SECONDS}", stream=True, timeout=30) as response:
                self.lines += (line.decode() for line in response.iter_lines(chunk_size=1))
        except requests.RequestException as error:
            self.error = str(error)
        self.seconds = time.monotonic() - start

    @property
    def running(self) -> bool:
        """Whether it has started and not ended."""
        return bool(self.lines) and self._thread.is_alive()

    def end(self) -> None:
        """Wait until it has ended."""
        self._thread.join(STREAM_SECONDS + 30)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    backs = [service("back", labels={"version": version}) for version in ("v1", "v2", "v3")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front"), *backs]) as running:
        running.apply(
            "---".join([subset("v1", "v1"), subset("v2", "v2"), subset("v3", "v3"), route(split(v1=1))])
        )
        yield running


@pytest.fixture(scope="module", autouse=True)
def streams(mesh: Mesh) -> list[Stream]:
    """Streams that start before the first change: one through a sidecar, one through the ingress."""
    plain = requests.Session()
    plain.trust_env = False
    return [
        Stream(mesh.caller("front-1"), "http://back"),
        Stream(plain, f"http://127.0.0.1:{mesh.ingress_port}"),
    ]


@pytest.fixture(scope="module")
def traffic(mesh: Mesh, streams: list[Stream]) -> Iterator[Sequence[Load]]:
    """Load through a sidecar and through the ingress during all changes."""
    with steady(through(mesh, "front-1", "back"), outside(mesh), connections=6) as loads:
        yield loads


def wait_until_unused(mesh: Mesh, instance: str) -> None:
    """Wait until an instance receives no more requests, including those in flight."""
    until(lambda: shares(mesh, VERSIONS, 200)[instance] == 0, f"{instance} receives no request")


def close_to(**weights: float) -> object:
    """The expected result of `shares`, from percentages by version."""
    expected = {f"back-{name[1:]}": float(share) for name, share in weights.items()}
    return pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(
    "weights",
    [{"v1": 90, "v2": 10}, {"v1": 50, "v2": 50}, {"v1": 0, "v2": 100}, {"v1": 60, "v2": 30, "v3": 10}],
    ids=str,
)
def test_shares_follow_new_weights_at_once(
    mesh: Mesh, traffic: Sequence[Load], weights: dict[str, int]
) -> None:
    mesh.apply(route(split(**weights)))
    assert shares(mesh, VERSIONS) == close_to(**({"v1": 0, "v2": 0, "v3": 0} | weights))


def test_header_match_routes_matching_requests_only(mesh: Mesh, traffic: Sequence[Load]) -> None:
    mesh.apply(route(split(v1=1), for_testers("v2")))
    assert mesh.get("front-1", "http://back/echo", headers={"x-tester": "yes"}).json()["name"] == "back-2"
    assert mesh.outside("/echo", headers={"x-tester": "yes"}).json()["name"] == "back-2"
    assert shares(mesh, VERSIONS, 1000) == close_to(v1=100, v2=0, v3=0)
    mesh.apply(route(split(v1=1), for_testers("v3")))
    assert mesh.get("front-1", "http://back/echo", headers={"x-tester": "yes"}).json()["name"] == "back-3"
    assert mesh.outside("/echo", headers={"x-tester": "yes"}).json()["name"] == "back-3"


def test_subset_with_other_labels_selects_other_instances(mesh: Mesh, traffic: Sequence[Load]) -> None:
    mesh.apply(route(split(v1=70, v2=30)))
    mesh.apply(subset("v2", "v3"))
    assert shares(mesh, VERSIONS) == close_to(v1=70, v2=0, v3=30)
    mesh.apply(subset("v2", "v2"))
    wait_until_unused(mesh, "back-3")
    assert shares(mesh, VERSIONS, 1000)["back-3"] == 0


def test_route_and_its_new_subset_are_applied_together(mesh: Mesh, traffic: Sequence[Load]) -> None:
    for turn in range(3):
        mesh.apply(subset(f"fresh-{turn}", "v2") + "---" + route(split(**{f"fresh-{turn}": 1})))
        assert shares(mesh, VERSIONS, 500) == close_to(v1=0, v2=100, v3=0)
        if turn:
            mesh.delete("Subset", f"fresh-{turn - 1}")
    mesh.apply(route(split(v1=50, v2=50)))


def test_route_is_deleted_and_created_again(mesh: Mesh, traffic: Sequence[Load]) -> None:
    """In between, calls from the mesh go to all instances, and another route serves the ingress."""
    mesh.apply(
        route(split(v1=1))
        .replace("name: back}\n", "name: outside}\n")
        .replace("{kind: Service, name: back}, ", "")
    )
    mesh.delete("HTTPRoute", "back")
    without_route = shares(mesh, VERSIONS, 2000)
    assert min(without_route.values()) > 5
    mesh.apply(route(split(v1=50, v2=50)))
    mesh.delete("HTTPRoute", "outside")
    wait_until_unused(mesh, "back-3")
    assert shares(mesh, VERSIONS, 2000)["back-3"] == 0


def test_policies_of_other_kinds_are_created_and_deleted(mesh: Mesh, traffic: Sequence[Load]) -> None:
    target = "targetRefs: [{kind: Service, name: back}]"
    policies = {
        "Timeout": f"{{{target}, request: 70s}}",
        "Retry": f"{{{target}, attempts: 1, budget: {{percent: 50}}}}",
    }
    for kind, spec in policies.items():
        mesh.apply(f"apiVersion: meshwright.io/v1\nkind: {kind}\nmetadata: {{name: passing}}\nspec: {spec}\n")
    for kind in policies:
        mesh.delete(kind, "passing")


def rollout(name: str, canary: str, steps: str, guards: str) -> str:
    """A Rollout of the route `back`, from v1 to another version."""
    return f"""
apiVersion: meshwright.io/v1
kind: Rollout
metadata: {{name: {name}}}
spec:
  route: {{name: back}}
  stable: {{group: meshwright.io, kind: Subset, name: v1}}
  canary: {{group: meshwright.io, kind: Subset, name: {canary}}}
  testers: [{{name: x-tester, value: "yes"}}]
  steps: [{steps}]
  guards: {{{guards}}}
"""


def phase(mesh: Mesh, name: str) -> str:
    """Where a rollout stands."""
    shown = json.loads(mesh.run("rollout", "status", name, "-o", "json").stdout)
    return str(shown["phase"])


def test_a_rollout_gives_the_canary_all_requests_step_by_step(mesh: Mesh, traffic: Sequence[Load]) -> None:
    mesh.apply(route(split(v1=1)))
    steps = "{mirror: 50, pause: 1s}, {weight: 20, pause: 1s}, {weight: 60, pause: 1s}"
    document = rollout("to-v2", "v2", steps, "successRate: 99, minRequests: 20, window: 10s")
    mesh.apply(document)
    until(lambda: phase(mesh, "to-v2") == "Promoted", "the rollout is promoted", within=180, every=1)
    history = json.loads(mesh.run("history", "-o", "json").stdout)["items"]
    moves = [entry["message"] for entry in reversed(history) if entry["author"] == "rollout"]
    assert moves == [
        "rollout to-v2: step 1 of 3: copies of 50 % of the requests go to Subset v2",
        "rollout to-v2: step 2 of 3: 20 % of the requests go to Subset v2",
        "rollout to-v2: step 3 of 3: 60 % of the requests go to Subset v2",
        "rollout to-v2: Subset v2 has all requests",
    ]
    wait_until_unused(mesh, "back-1")
    mesh.apply(document)
    assert shares(mesh, VERSIONS, 500) == close_to(v1=0, v2=100, v3=0)
    mesh.delete("Rollout", "to-v2")


def test_a_rollout_whose_canary_fails_is_aborted(mesh: Mesh, traffic: Sequence[Load]) -> None:
    """Only testers see the failures, who call from an instance of `back`."""
    mesh.apply(rollout("to-v3", "v3", "{weight: 1}", "successRate: 99, minRequests: 20, window: 10s"))

    def aborted() -> bool:
        for _ in range(10):
            mesh.get("back-2", "http://back/status/500", headers={"x-tester": "yes"})
        return phase(mesh, "to-v3") == "Aborted"

    until(aborted, "the rollout is aborted", within=120)
    shown = mesh.run("rollout", "status", "to-v3", "--wait", check=False)
    assert shown.returncode == 1
    assert "requests to the canary failed" in shown.stdout
    wait_until_unused(mesh, "back-3")
    assert shares(mesh, VERSIONS, 500) == close_to(v1=100, v2=0, v3=0)
    mesh.run("rollout", "restart", "to-v3")
    mesh.run("rollout", "pause", "to-v3", "-m", "enough for today")
    assert phase(mesh, "to-v3") == "Paused"
    mesh.run("rollback")
    shown = mesh.run("rollout", "status", "to-v3")
    assert "paused: restored by a rollback\nwaits for `mesh rollout resume`" in shown.stdout
    assert [line.split()[:5] for line in mesh.run("rollout", "list").stdout.splitlines()[1:]] == [
        ["to-v3", "paused", "1", "of", "1"]
    ]
    mesh.delete("Rollout", "to-v3")


def _answers(call: Callable[..., requests.Response], headers: dict[str, str], name: str) -> bool:
    """Whether the instance of this name responds to a call."""
    return bool(call(headers=headers).json()["name"] == name)


def test_an_intercept_takes_the_requests_with_its_header_and_ends_with_its_process(
    mesh: Mesh, traffic: Sequence[Load]
) -> None:
    mesh.apply(route(split(v1=1, v2=1), for_testers("v3")))
    options = ["back", "--header", "x-dev=me", "--instance", "mine", "--state", str(mesh.state)]
    app = [sys.executable, "-m", "tests.fakes.app"]
    dev = {"x-dev": "me"}
    with starting(mesh, "mine", mesh.state, command("intercept", *options, "--", *app)) as instance:
        for call in (partial(mesh.get, "front-1", "http://back/echo"), partial(mesh.outside, "/echo")):
            until(partial(_answers, call, dev, "mine"), "the request is taken")
            assert call(headers={"x-dev": "you"}).json()["name"] in VERSIONS
            assert call(headers={**dev, "x-tester": "yes"}).json()["name"] == "mine"
        assert shares(mesh, VERSIONS) == close_to(v1=50, v2=50, v3=0)
        instance.stop()
    until(lambda: mesh.get("front-1", "http://back/echo", headers=dev).json()["name"] in VERSIONS, "it ended")


def test_streams_survive_every_change(mesh: Mesh, traffic: Sequence[Load], streams: list[Stream]) -> None:
    """Changes continue until the streams end."""
    for share in itertools.cycle(range(0, 101, 10)):
        if not all(stream.running for stream in streams):
            break
        mesh.apply(route(split(v1=share, v3=100 - share), for_testers("v2")))
    chunks = STREAM_SECONDS * 5
    for stream in streams:
        stream.end()
        assert stream.error == ""
        assert stream.lines == [*map(str, range(chunks)), f"end {chunks}"]
        assert stream.seconds >= STREAM_SECONDS


def test_no_request_failed_during_the_changes(mesh: Mesh, traffic: Sequence[Load]) -> None:
    for load in traffic:
        assert load.process.poll() is None, "wrk ended before the changes"
        load.stop()
    for load in traffic:
        assert load.outcome.failed == {}
        assert load.outcome.requests > 5000
    for instance, prefix in (("front-1", "outbound"), ("ingress", "ingress")):
        assert responses(mesh, instance, prefix, "2") > 5000
        assert responses(mesh, instance, prefix, "5") == 0
