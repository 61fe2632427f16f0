"""What `mesh convert` makes of examples behaves in a mesh of processes: connections, probes, logs and limits.

Cases of `mesh test` are requests, one after the other (see test_proved.py). The rest is here: concurrent
requests, TCP and gRPC ports, health checks, access logs, hosts outside.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from ruamel.yaml import YAML

from tests.envoy.grpc_client import call as grpc_call
from tests.envoy.grpc_client import channel
from tests.envoy.harness import Mesh, running_mesh, service, settings, until
from tests.envoy.outside_world import call as call_outside
from tests.envoy.test_breaker import counter
from tests.envoy.test_tcp import address, ask
from tests.envoy.test_telemetry import access_log
from tests.fakes.dns_server import DnsRecords, running_dns_server
from tests.fakes.mesh_command import run_mesh
from tests.fakes.outside_server import running_outside
from tests.fakes.ports import free_port

EXAMPLES = Path(__file__).parent / "proved" / "processes"
APPS = {"plain": "tcp_app", "other": "tcp_app", "rpc": "grpc_app"}
"""The processes of the Services in kubernetes.yaml."""


def converted(form: str, name: str, *arguments: str) -> str:
    """The documents of an example, of which nothing is lost."""
    done = run_mesh(("convert", form, name, "--strict", *arguments), settings(EXAMPLES), EXAMPLES)
    assert done.returncode == 0, done.stderr
    return done.stdout


def services_of_kubernetes(folder: Path) -> list[dict[str, Any]]:
    """The services of the converted application, with the commands that its reader writes."""
    file = folder / "converted.yaml"
    converted("istio", "kubernetes.yaml", "--application", str(file))
    entries = YAML(typ="safe").load(file.read_text())["spec"]["services"]
    for entry in entries:
        entry |= {
            **service(entry["name"], labels={"version": "v1"}),
            "command": [sys.executable, "-m", f"tests.fakes.{APPS[entry['name']]}"],
            "health": {"interval": "1s"},
        }
    return list(entries)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("mesh")
    front = {**service("front"), "upstreams": ["plain", "other"]}
    played = [service("narrow"), service("probed"), service("shelf", replicas=2), service("tray", replicas=2)]
    with running_mesh(folder, [front, *played, *services_of_kubernetes(folder)]) as running:
        yield running


@dataclass
class ExampleMesh:
    """The mesh, and the documents that are in force in it."""

    mesh: Mesh
    name: str = ""
    documents: str = ""

    def apply(self, name: str, documents: str) -> Mesh:
        """Put documents in force, in place of those before."""
        if name != self.name:
            if self.documents:
                self.mesh.run("delete", "-f", "-", "--wait", stdin=self.documents)
            self.mesh.apply(documents)
            self.name, self.documents = name, documents
        return self.mesh


@pytest.fixture(scope="module")
def examples(mesh: Mesh) -> ExampleMesh:
    return ExampleMesh(mesh)


@pytest.fixture
def istio(examples: ExampleMesh) -> Mesh:
    return examples.apply("istio", converted("istio", "istio.yaml"))


@pytest.fixture
def kuma(examples: ExampleMesh) -> Mesh:
    return examples.apply("kuma", converted("kuma", "kuma.yaml"))


@pytest.fixture
def consul(examples: ExampleMesh) -> Mesh:
    return examples.apply("consul", converted("consul", "consul.hcl"))


def get(mesh: Mesh, name: str, path: str = "/echo", **options: Any) -> requests.Response:
    return mesh.get("front-1", f"http://{name}{path}", **options)


def has_status(mesh: Mesh, name: str, status: int) -> bool:
    return get(mesh, name).status_code == status


def is_open(mesh: Mesh, name: str) -> bool:
    return "no healthy upstream" in get(mesh, name, "/status/500").text


def servers(mesh: Mesh, name: str, users: list[str]) -> set[str]:
    """The instances that respond to requests of users."""
    responses = [get(mesh, name, headers={"x-user": user}) for user in users]
    return {response.headers["x-served-by"] for response in responses}


def check_header_hash(mesh: Mesh, name: str) -> None:
    assert len(servers(mesh, name, ["one"] * 10)) == 1
    assert len(servers(mesh, name, [str(number) for number in range(40)])) == 2


def check_session_cookie(mesh: Mesh, name: str) -> None:
    seen = set()
    for _ in range(16):
        browser = mesh.caller("front-1")
        names = {browser.get(f"http://{name}/echo").headers["x-served-by"] for _ in range(4)}
        assert len(names) == 1
        (cookie,) = [each for each in browser.cookies if each.name == name]
        assert cookie.expires is None, "a cookie of the session"
        seen |= names
    assert len(seen) == 2


def check_logged(mesh: Mesh, proxy: str, name: str, path: str) -> None:
    """The proxy logs a request that succeeds."""

    def lines() -> list[dict[str, object]]:
        assert get(mesh, name, path).status_code == 200
        return access_log(mesh, proxy, path)

    assert until(lines, "a line of a successful request")[0]["status"] == 200


def check_one_at_a_time(mesh: Mesh, name: str, *, waiting: int) -> None:
    """One request is served, `waiting` more wait, and the next one is refused."""
    with ThreadPoolExecutor(1 + waiting) as pool:
        slow = pool.submit(get, mesh, name, "/delay?ms=6000")
        until(lambda: mesh.counts(f"{name}-1").get("GET /delay"), "the first request is served")
        later = [pool.submit(get, mesh, name, "/later") for _ in range(waiting)]
        if waiting:
            pending = "upstream_rq_pending_active"
            until(lambda: counter(mesh, pending, name) == waiting, "the others wait", every=0.02)
        refused = get(mesh, name, "/refused")
        assert not slow.done()
        assert (refused.status_code, "overflow" in refused.text) == (503, True)
        assert [slow.result().status_code, *(each.result().status_code for each in later)] == [200] * (
            1 + waiting
        )
    assert "GET /refused" not in mesh.counts(f"{name}-1")


def test_ports_of_a_kubernetes_service_carry_connections(mesh: Mesh) -> None:
    assert ask(address(mesh, "plain")) == b"plain-1: x\n"
    assert ask(address(mesh, "other")) == b"other-1: x\n"


async def test_ports_of_a_kubernetes_service_carry_grpc(mesh: Mesh) -> None:
    async with channel(mesh, "rpc:9000") as through:
        assert (await grpc_call(through))["name"] == "rpc-1"


def test_an_external_name_of_kubernetes_is_called_by_its_name(examples: ExampleMesh, tmp_path: Path) -> None:
    file = tmp_path / "application.yaml"
    text = converted("istio", "kubernetes.yaml", "--application", str(file)).removesuffix(f"{file}\n")
    records = DnsRecords({"api.cards.example": ["127.0.0.43"]})
    with running_outside("127.0.0.43") as outside, running_dns_server(records):
        # The host's own DNS knows the name outside a test.
        resolvers = f"  resolvers: ['127.0.0.1:{records.port}']\n"
        port = f"port: 80\n    targetPort: {outside.port}"
        mesh = examples.apply("kubernetes", text.replace("port: 80", port) + resolvers)
        response = call_outside(mesh, "api.cards.example")
        assert (response.status, json.loads(response.body)["server"]) == (200, "127.0.0.43")


def test_istios_limits_of_connections_streams_and_waiting_requests(istio: Mesh) -> None:
    check_one_at_a_time(istio, "narrow", waiting=1)


def test_istios_limit_of_requests(istio: Mesh) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(get, istio, "shelf", "/delay?ms=4000")
        reached = ("shelf-1", "shelf-2")
        until(lambda: any(istio.counts(name).get("GET /delay") for name in reached), "the first is served")
        assert get(istio, "shelf").status_code == 503
        assert not slow.done()
        assert slow.result().status_code == 200
    until(lambda: get(istio, "shelf").status_code == 200, "the next one is served")


def test_istios_connections_end_after_a_request(istio: Mesh) -> None:
    before = counter(istio, "upstream_cx_total", "shelf")
    assert all(get(istio, "shelf").status_code == 200 for _ in range(10))
    # A request that was refused may have left a connection to each instance.
    assert counter(istio, "upstream_cx_total", "shelf") >= before + 8


def test_istios_idle_connections_end(istio: Mesh) -> None:
    assert get(istio, "tray").ok
    assert counter(istio, "upstream_cx_total", "tray") > 0
    until(lambda: counter(istio, "upstream_cx_active", "tray") == 0, "connections are closed")


def test_istios_balancing_by_header_and_by_cookie(istio: Mesh) -> None:
    check_header_hash(istio, "shelf")
    check_session_cookie(istio, "tray")


def test_istios_breaker_in_both_spellings(istio: Mesh) -> None:
    for name, instances in (("narrow", 1), ("shelf", 2)):
        responses = [get(istio, name, "/status/500").status_code for _ in range(3 * instances + 6)]
        assert responses[:3] == [500] * 3
        until(partial(is_open, istio, name), "it opens")


def test_istios_connections_are_led_to_a_subset(istio: Mesh) -> None:
    until(lambda: ask(address(istio, "other")) == b"plain-1: x\n", "connections are led to plain")


def test_istios_service_entry_has_its_endpoints(istio: Mesh) -> None:
    first, second = free_port(), free_port()
    text = converted("istio", "istio.yaml").split("---\n")
    (bank,) = [each for each in text if "kind: ExternalService" in each]
    bank = bank.replace("8888", str(first)).replace("8889", str(second))
    with running_outside("127.0.0.41", first), running_outside("127.0.0.42", second):
        istio.apply(bank)
        seen = {json.loads(call_outside(istio, "bank.example").body)["server"] for _ in range(30)}
    assert seen == {"127.0.0.41", "127.0.0.42"}


def test_istios_permissive_service_accepts_plaintext(istio: Mesh) -> None:
    url = f"http://127.0.0.1:{istio.ports('shelf-1')['inbound']}/echo"
    until(lambda: requests.get(url, headers={"host": "shelf"}, timeout=30).ok, "plaintext gets in")
    with pytest.raises(requests.ConnectionError):
        strict = istio.ports("tray-1")["inbound"]
        requests.get(f"http://127.0.0.1:{strict}/echo", headers={"host": "tray"}, timeout=30)


def test_istios_access_log(istio: Mesh) -> None:
    path = "/logged-by-istio"

    def lines() -> list[dict[str, object]]:
        assert get(istio, "tray", path).ok
        return access_log(istio, "tray-1", path) + access_log(istio, "tray-2", path)

    assert until(lines, "a line of a successful request")[0]["status"] == 200


def test_kumas_connections_are_led_to_another_service(kuma: Mesh) -> None:
    until(lambda: ask(address(kuma, "plain")) == b"other-1: x\n", "connections are led to other")


def set_probe(mesh: Mesh, code: int) -> None:
    requests.post(f"{mesh.app('probed-1')}/switches/probe/{code}", timeout=60).raise_for_status()


def test_kumas_health_check_takes_an_instance_out_and_back(kuma: Mesh) -> None:
    for code, status in ((200, 200), (500, 503), (201, 200), (204, 503), (200, 200)):
        set_probe(kuma, code)
        until(partial(has_status, kuma, "probed", status), f"{code} makes {status}")


async def test_kumas_grpc_health_check_calls_the_health_service(kuma: Mesh) -> None:
    until(lambda: counter(kuma, "health_check_success", "rpc") > 3, "probes pass")
    assert counter(kuma, "health_check_failure", "rpc") == 0
    async with channel(kuma, "rpc:9000") as through:
        assert (await grpc_call(through))["name"] == "rpc-1"


def test_kumas_access_logs(kuma: Mesh) -> None:
    set_probe(kuma, 200)
    until(lambda: get(kuma, "probed").ok, "probed is healthy")
    check_logged(kuma, "probed-1", "probed", "/logged-from")
    check_logged(kuma, "narrow-1", "narrow", "/logged-to")
    for proxy in ("shelf-1", "shelf-2"):
        check_logged(kuma, proxy, "shelf", f"/logged-rules-{proxy}")
    assert get(kuma, "tray", "/logged-nowhere").ok
    assert not access_log(kuma, "tray-1", "/logged-nowhere") + access_log(kuma, "tray-2", "/logged-nowhere")


def test_kumas_limit_of_requests(kuma: Mesh) -> None:
    set_probe(kuma, 200)
    until(lambda: get(kuma, "probed").ok, "probed is healthy")
    check_one_at_a_time(kuma, "probed", waiting=0)


def test_consuls_limits_of_one_upstream(consul: Mesh) -> None:
    consul.reset("narrow-1")
    check_one_at_a_time(consul, "narrow", waiting=0)


def test_consuls_limits_of_all_upstreams(consul: Mesh) -> None:
    consul.reset("probed-1")
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(get, consul, "probed", "/delay?ms=4000") for _ in range(2)]
        until(lambda: consul.counts("probed-1").get("GET /delay") == 2, "two requests are served")
        assert get(consul, "probed", "/refused").status_code == 503
        assert [each.result().status_code for each in slow] == [200, 200]


def test_consuls_balancing_by_header_and_by_cookie(consul: Mesh) -> None:
    check_header_hash(consul, "tray")
    check_session_cookie(consul, "shelf")


def test_consuls_access_logs_are_everywhere(consul: Mesh) -> None:
    check_logged(consul, "front-1", "narrow", "/logged-by-front")
    check_logged(consul, "narrow-1", "narrow", "/logged-by-narrow")
