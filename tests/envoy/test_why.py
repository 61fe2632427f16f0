"""Explanations and taps of requests in a running mesh: flag, sidecar, policy, revision, author."""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from meshwright.control_plane.telemetry.requests.response_flags import FLAGS
from tests.envoy.envoy_admin import stats
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.fakes.otlp_sink import OtlpSink, otlp_sink
from tests.sidecar.conftest import ENVOY

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{matches: [{path: {value: /shop}}], backendRefs: [{name: back}]}]
"""


def policy(kind: str, spec: str, target: str = "{kind: Service, name: back}") -> str:
    return (
        f"apiVersion: meshwright.io/v1\nkind: {kind}\nmetadata: {{name: lab}}\n"
        f"spec: {{targetRefs: [{target}], {spec}}}\n"
    )


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpSink]:
    """The collector that the mesh exports its telemetry to."""
    with otlp_sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, collector: OtlpSink) -> Iterator[Mesh]:
    services = [service("front"), service("back")]
    forward = collector.address
    with running_mesh(tmp_path_factory.mktemp("why"), services, MESH_OTLP_FORWARD=forward) as running:
        running.apply(ROUTE)
        yield running


@contextmanager
def applied(mesh: Mesh, kind: str, spec: str, target: str = "{kind: Service, name: back}") -> Iterator[int]:
    """Apply a policy for the block; yields its revision."""
    revision = mesh.apply(policy(kind, spec, target), "-m", "to see what happens")
    try:
        yield revision
    finally:
        mesh.delete(kind.lower(), "lab")


def call(mesh: Mesh, path: str, **options: Any) -> requests.Response:
    return mesh.get("front-1", f"http://back{path}", **options)


def api_get(mesh: Mesh, path: str) -> Any:
    """A response of the admin API; None if it is an error."""
    addresses = json.loads((mesh.state / "mesh.json").read_text())
    token = (mesh.state / "admin.token").read_text().strip()
    response = requests.get(
        f"{addresses['admin']}/api/v1{path}", headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    return response.json() if response.ok else None


def explained(mesh: Mesh, response: requests.Response) -> Any:
    """The explanation of a response, once its proxies have reported it."""
    id = response.headers["x-request-id"]
    explanation = until(lambda: api_get(mesh, f"/why/{id}"), f"records of {id}")
    assert explanation["request"] == id
    return explanation


def assert_responsible(why: Any, policy: str, revision: int, excerpt: str) -> None:
    (responsible,) = why["causes"][0]["policies"]
    assert (f"{responsible['kind']}/{responsible['name']}", responsible["revision"]) == (policy, revision)
    assert responsible["excerpt"] == excerpt
    assert "@" in responsible["author"]
    assert responsible["message"] == "to see what happens"
    expected = f"{policy.replace('/', ' ')}, revision {revision}, by {responsible['author']}, "
    assert expected in why["summary"]


def test_telemetry_of_all_proxies_is_exported(mesh: Mesh, collector: OtlpSink) -> None:
    traced = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}
    assert call(mesh, "/status/503", headers=traced).status_code == 503
    expected = {"traces front", "traces back", "metrics front", "metrics back", "logs front", "logs back"}
    until(lambda: expected <= set(collector.senders), "spans, metrics and access logs of both")
    assert set(collector.senders) <= expected | {
        f"{signal_name} ingress" for signal_name in ("traces", "metrics", "logs")
    }


def test_a_limit_is_explained_by_its_circuit_breaker(mesh: Mesh) -> None:
    def burst() -> list[requests.Response]:
        """The rejected ones of six requests at once."""
        with ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda _: call(mesh, "/delay?ms=1000"), range(6)))
        return [response for response in done if response.status_code == 503]

    with applied(mesh, "CircuitBreaker", "maxRequests: 1") as revision:
        refused = until(burst, "a request beyond the limit")[0]
        why = explained(mesh, refused)
    assert why["summary"].startswith("503 UO at front → back: CircuitBreaker lab")
    assert_responsible(why, "CircuitBreaker/lab", revision, "maxRequests: 1")
    again = explained(mesh, refused)
    assert_responsible(again, "CircuitBreaker/lab", revision, "maxRequests: 1")


def test_a_timeout_is_explained_and_the_reset_at_the_callee_is_not_the_cause(mesh: Mesh) -> None:
    with applied(mesh, "Timeout", "request: 1s") as revision:
        response = call(mesh, "/delay?ms=10000")
        assert response.status_code == 504
        until(lambda: len(explained(mesh, response)["hops"]) == 2, "the record of the callee's proxy")
        why = explained(mesh, response)
    assert why["summary"].startswith("504 UT at front → back: Timeout lab")
    assert_responsible(why, "Timeout/lab", revision, "request: 1s")
    assert [(hop["proxy"], hop["depth"]) for hop in why["hops"]] == [("front-1", 0), ("back-1", 1)]


def test_an_injected_fault_is_explained(mesh: Mesh) -> None:
    with applied(mesh, "FaultInjection", "abort: {status: 418}") as revision:
        response = call(mesh, "/echo")
        assert response.status_code == 418
        why = explained(mesh, response)
    assert why["summary"].startswith("418 FI at front → back: FaultInjection lab")
    assert_responsible(why, "FaultInjection/lab", revision, "abort: {status: 418, percent: 100.0}")


def test_no_route_is_explained(mesh: Mesh) -> None:
    unknown = explained(mesh, mesh.get("front-1", "http://nowhere/x"))
    assert unknown["summary"] == "404 NR at front → nowhere: there is no service 'nowhere'"
    outside = explained(mesh, mesh.outside("/elsewhere"))
    assert outside["summary"].startswith("404 NR at ingress: HTTPRoute shop does not match GET /elsewhere")


def test_an_error_of_the_app_names_the_app(mesh: Mesh) -> None:
    response = mesh.outside("/shop/status/503")
    assert response.status_code == 200, "the fake echoes paths it does not know"
    failed = call(mesh, "/status/503")
    until(lambda: len(explained(mesh, failed)["hops"]) == 2, "records of both proxies")
    assert explained(mesh, failed)["summary"] == "503 at front → back: the app of back responded with 503"


def test_a_slow_request_is_logged_without_a_trace(mesh: Mesh) -> None:
    response = call(mesh, "/delay?ms=1100")
    until(lambda: len(explained(mesh, response)["hops"]) == 2, "records of both proxies")
    why = explained(mesh, response)
    assert why["verdict"] == "slow"
    assert re.search(r"spent in the app of back$", why["summary"]), why["summary"]


def no_listener_warming(mesh: Mesh) -> bool:
    """Whether front's Envoy has no listener that is still warming."""
    counts = stats(mesh, "front-1", r"^listener_manager\.total_listeners_warming$")
    return counts == {"listener_manager.total_listeners_warming": 0}


def test_explanations_do_not_need_the_access_log(mesh: Mesh) -> None:
    """Each request opens a connection, which a changed listener accepts once it has warmed up."""
    with applied(mesh, "Telemetry", "accessLog: Off, sampling: 0", "{kind: Mesh}"):
        until(lambda: no_listener_warming(mesh), "no listener is warming")
        assert call(mesh, "/echo").status_code == 200
        silent = call(mesh, "/status/503")
        assert explained(mesh, silent)["verdict"] == "failed"
    logged = call(mesh, "/status/503").headers["x-request-id"]
    until(lambda: logged in mesh.log("front-1.proxy"), "the access log of a later request")
    assert silent.headers["x-request-id"] not in mesh.log("front-1.proxy")


def test_a_trace_is_explained_without_log_records(mesh: Mesh) -> None:
    trace = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    assert call(mesh, "/echo", headers=headers).status_code == 200
    explanation = until(
        lambda: (why := api_get(mesh, f"/why/{trace}")) and len(why["hops"]) == 2 and why, "spans of both"
    )
    assert (explanation["source"], explanation["verdict"]) == ("trace", "fine")
    assert [hop["direction"] for hop in explanation["hops"]] == ["outbound", "inbound"]


def test_a_client_error_is_not_a_failure_anywhere(mesh: Mesh) -> None:
    refused, broken = secrets.token_hex(16), secrets.token_hex(16)
    for trace, status in ((refused, 409), (broken, 500)):
        headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
        assert call(mesh, f"/status/{status}", headers=headers).status_code == status
    for trace, fails in ((refused, False), (broken, True)):
        tree = until(
            lambda trace=trace: (
                (shown := api_get(mesh, f"/traces/{trace}")) and shown["spans"] == 4 and shown
            ),  # type: ignore[misc]
            "spans of both",
        )
        assert [span["error"] for span in tree["tree"]] == [fails] * 4
        why = api_get(mesh, f"/why/{trace}")
        assert (why["verdict"], [hop["failed"] for hop in why["hops"]]) == (
            ("failed", [True] * 2) if fails else ("fine", [False] * 2)
        )
    shown = mesh.run("trace", refused).stdout
    assert "none failed" in shown
    assert "▲ proxy 409 → back" in shown
    listed = {trace["id"] for trace in api_get(mesh, "/traces?errors=true&limit=100")["traces"]}
    assert listed & {refused, broken} == {broken}


# --- live ---------------------------------------------------------------------------------------------


@contextmanager
def mesh_process(mesh: Mesh, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`mesh ARGUMENTS` that runs beside the block; ended by SIGINT."""
    command = [sys.executable, "-m", "meshwright.cli", *arguments, "--state", str(mesh.state)]
    process = subprocess.Popen(
        command, env=mesh.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(20)


@contextmanager
def tapping(mesh: Mesh, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`mesh tap ARGUMENTS` once every proxy is tapped; ended by SIGINT."""
    with mesh_process(mesh, "tap", *arguments) as process:
        assert process.stderr is not None
        assert re.match(r"tapping \w+: (\d+) of \1 proxies", process.stderr.readline())
        yield process


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def test_a_tap_shows_every_request_and_ends(mesh: Mesh) -> None:
    name = secrets.token_hex(4)
    sent = [f"/{name}/{number}" for number in range(25)]
    with tapping(mesh, "back", "-o", "json", "--path", f"/{name}") as process:
        for path in sent:
            call(mesh, f"{path}?secret=1")
        call(mesh, f"/other/{name}")
        last = mesh.outside(f"/shop/{name}")
        tapped = [json.loads(line) for line in lines(process, len(sent))]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert [request["path"] for request in tapped] == sent
    assert rest == ""
    assert {(request["caller"], request["method"], request["status"]) for request in tapped} == {
        ("front", "GET", 200)
    }
    assert all(request["duration"] > 0 for request in tapped)
    assert [request for request in tapped if request["duration"] % 1], (
        "durations have fractions of milliseconds"
    )
    assert last.status_code == 200

    def off() -> bool:
        """Whether the proxy logs only the failed one of two requests again."""
        good, bad = call(mesh, "/echo"), call(mesh, "/status/500")
        ids = [response.headers["x-request-id"] for response in (good, bad)]
        until(lambda: api_get(mesh, f"/why/{ids[1]}"), "the request that failed")
        records = api_get(mesh, "/requests?service=back&limit=500")["requests"]
        return ids[0] not in {record["id"] for record in records}

    until(off, "the tap ends by itself", every=1.0)


def test_a_tap_shows_requests_that_never_reached_the_service(mesh: Mesh) -> None:
    injected, path = applied(mesh, "FaultInjection", "abort: {status: 503}"), f"/{secrets.token_hex(4)}"
    with injected, tapping(mesh, "back", "--errors", "--path", path, "--for", "60s") as process:
        assert call(mesh, path).status_code == 503
        (line,) = lines(process, 1)
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d\.\d{{3}}  front +GET {path} +× 503 +\d.*ms  "
        r"FI a fault injection aborted the request\n",
        line,
    ), line


def test_a_disconnected_request_has_whole_milliseconds_and_an_injected_one_fractions(mesh: Mesh) -> None:
    with pytest.raises(requests.ReadTimeout):
        call(mesh, "/delay?ms=1500", timeout=0.3)
    with applied(mesh, "FaultInjection", "abort: {status: 503}"):
        refused = explained(mesh, call(mesh, "/echo"))

    def disconnected() -> list[Any]:
        records = api_get(mesh, "/requests?service=front&limit=500")["requests"]
        return [record for record in records if record["path"] == "/delay" and record["status"] == 0]

    (record, *_) = until(disconnected, "the disconnected request")
    assert record["duration"] >= 100
    assert record["duration"] % 1 == 0
    assert refused["hops"][0]["duration"] > 0


def test_mesh_why_prints_the_explanation(mesh: Mesh) -> None:
    with applied(mesh, "FaultInjection", "abort: {status: 503}") as revision:
        response = call(mesh, "/echo")
        id = response.headers["x-request-id"]
        explained(mesh, response)
        stdout = mesh.run("why", id[:13]).stdout
    assert stdout.startswith(f"× 503 FI at front → back: FaultInjection lab, revision {revision}, by ")
    assert "reported by front-1, front → back" in stdout
    assert "× front-1 → back  GET /echo" in stdout
    lost = mesh.run("why", "no-such-request", check=False)
    assert lost.returncode == 2
    assert "no such request: no-such-request" in lost.stderr


def test_a_tap_of_an_unknown_service_is_an_error(mesh: Mesh) -> None:
    done = mesh.run("tap", "nobody", check=False)
    assert done.returncode == 2
    assert "no such service or gateway: nobody" in done.stderr


def test_every_flag_of_envoy_is_explained(tmp_path: Path) -> None:
    """Envoy lists its flags when a configuration names an unknown one."""
    unknown = {"filter": {"response_flag_filter": {"flags": ["ZZ"]}}, "name": "x"}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "x", "route_config": {}, "access_log": [unknown],
    }  # fmt: skip
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "x", "typed_config": manager}]}],
    }
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener]}}))
    done = subprocess.run(
        [str(ENVOY), "--mode", "validate", "-c", str(file), "--log-level", "error"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    match = re.search(r"value must be in list \[([A-Z ]+)\]", done.stdout + done.stderr)
    assert match, done.stderr
    assert set(match[1].split()) == set(FLAGS)
