"""`mesh consul` with the clients that applications use, in a real mesh."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import consul
import pytest
import requests

from tests.cli.consul_registry import names_of, registry
from tests.cli.joining import healthy_instances
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.fakes.ports import free_port

pytestmark = pytest.mark.long

TOKEN = "a token of our own"

NODE = """
const Consul = require('consul');
const [port, appPort, token] = process.argv.slice(1);
const client = new Consul({host: '127.0.0.1', port: +port, defaults: {token}});
const fail = error => { console.error(error); process.exit(1); };
process.on('unhandledRejection', fail);
(async () => {
  await client.agent.service.register({name: 'cart', id: 'cart:1', port: +appPort, tags: ['node'],
    checks: [{ttl: '60s'}, {http: `http://127.0.0.1:${appPort}/health/ready`, interval: '1s'}]});
  const watch = client.watch({method: client.health.service, options: {service: 'cart', passing: true}});
  watch.on('error', fail);
  watch.on('change', async found => {
    if (!found.length) return client.agent.check.pass('service:cart:1:1');
    const {Address, Port, ID, Tags} = found[0].Service;
    const answer = await fetch(`http://${Address}:${Port}/echo`);
    watch.end();
    console.log(JSON.stringify({id: ID, tags: Tags, echo: await answer.json(),
      own: Object.keys(await client.agent.services()), names: Object.keys(await client.catalog.services())}));
    await client.agent.service.deregister('cart:1');
    process.exit(0);
  });
})();
"""
"""Registers, passes its TTL, watches itself by a blocking query, calls what it found, and leaves."""


APP = """
import sys, urllib.error, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import consul

agent = consul.Consul(host="127.0.0.1", port=int(sys.argv[1]))
name = sys.argv[2]

class Proxy(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            _, entries = agent.health.service("back", passing=True)
            service = entries[0]["Service"]
            with urllib.request.urlopen(f"http://{service['Address']}:{service['Port']}/echo") as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, b""
        except (IndexError, consul.ConsulException):
            status, body = 503, b"back cannot be called yet"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
port = server.server_port
agent.agent.service.register(name, port=port)
print(port, flush=True)
server.serve_forever()
"""
"""Registers itself, and calls `back` for each request as it looked it up."""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front"), service("back")]) as running:
        yield running


@contextmanager
def app(name: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """An application that the mesh did not start, and its port."""
    argv = [sys.executable, "-m", "tests.fakes.app", "--port", "0", "--name", name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["port"], process
        finally:
            process.terminate()


def test_an_application_with_the_python_client_is_part_of_the_mesh(mesh: Mesh) -> None:
    with registry(mesh) as (http, names), app("shop") as (port, process):
        client = consul.Consul(host="127.0.0.1", port=http)
        check = consul.Check.http(f"http://127.0.0.1:{port}/health/ready", "1s", timeout="5s")
        assert client.agent.service.register("shop", service_id="shop:1", port=port, tags=["v1"], check=check)
        until(lambda: client.health.service("shop", passing=True)[1], "it passes")
        assert mesh.get("front-1", "http://shop/echo").json()["name"] == "shop"

        # What it looks up is called as itself, by mutual TLS, under the policies of the mesh.
        (entry,) = client.health.service("back", passing=True)[1]
        address = f"{entry['Service']['Address']}:{entry['Service']['Port']}"
        echo = requests.get(f"http://{address}/echo", timeout=60).json()
        assert echo["name"] == "back-1"
        assert "spiffe://mesh.local/service/shop" in echo["headers"]["x-forwarded-client-cert"]
        target = names_of(names, "back.service.consul", "SRV")
        assert target == [f"1 1 {entry['Service']['Port']} back.service.consul."]
        assert names_of(names, "back.mesh", "A") == [entry["Service"]["Address"]]
        assert names_of(names, "v1.back.mesh", "A") == []
        (tagged,) = names_of(names, "v1.shop.service.consul", "A")
        assert [tagged] == names_of(names, "shop.mesh", "A")
        (record,) = names_of(names, "_shop._v1.service.consul", "SRV")
        assert requests.get(f"http://{tagged}:{record.split()[2]}/echo", timeout=60).json()["name"] == "shop"
        mesh.apply(DENIED)
        assert requests.get(f"http://{address}/echo", timeout=60).status_code == 403
        mesh.delete("Authorization", "only-front")

        # A watch learns that it fails, and callers do not get it any more.
        index = client.health.service("shop", passing=True)[0]
        changes: list[Any] = []
        watch = threading.Thread(
            target=lambda: changes.append(client.health.service("shop", index=index, passing=True, wait="5m"))
        )
        watch.start()
        requests.post(f"http://127.0.0.1:{port}/health/fail", timeout=60)
        watch.join(120)
        assert changes[0][1] == []
        assert names_of(names, "shop.mesh", "A") == []
        assert mesh.get("front-1", "http://shop/echo").status_code == 503
        requests.post(f"http://127.0.0.1:{port}/health/ok", timeout=60)
        until(lambda: mesh.get("front-1", "http://shop/echo").status_code == 200, "it is back")

        assert client.agent.service.deregister("shop:1")
        until(lambda: healthy_instances(mesh, "shop") == 0, "it is gone")
        assert process.poll() is None


@pytest.mark.parametrize("host", ["::1", "127.0.0.5"])
def test_an_application_is_called_at_the_address_that_it_registered(
    mesh: Mesh, host: str, tmp_path: Path
) -> None:
    (tmp_path / "name").write_text(host)
    port = free_port()
    shown = f"[{host}]" if ":" in host else host
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", host, "--directory", str(tmp_path)]
    with (
        registry(mesh) as (http, names),
        subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
    ):
        agent = consul.Consul(host="127.0.0.1", port=http).agent
        for check in (None, {"TCP": f"{shown}:{port}", "Interval": "1s"}):
            agent.service.register("files", address=host, port=port, check=check)
            until(lambda: names_of(names, "files.mesh", "A"), "it is healthy")
            (address,) = names_of(names, "files.mesh", "A")
            assert requests.get(f"http://{address}:{port}/name", timeout=60).text == host
            until(lambda: mesh.get("front-1", "http://files/name").text == host, "others call it")
        agent.service.deregister("files")
        server.terminate()


def test_each_application_calls_as_itself(mesh: Mesh) -> None:
    with (
        registry(mesh) as (http, names),
        self_registering(http, "left") as left,
        self_registering(http, "right") as right,
    ):

        def caller(port: int) -> str:
            response = requests.get(f"http://127.0.0.1:{port}/", timeout=60)
            assert response.status_code == 200, response.text
            return str(response.json()["headers"]["x-forwarded-client-cert"]).partition("URI=")[2]

        assert caller(left).endswith("/service/left")
        assert caller(right).endswith("/service/right")
        # This process is neither: it calls as a service of its own.
        (entry,) = consul.Consul(host="127.0.0.1", port=http).health.service("back", passing=True)[1]
        address = f"{entry['Service']['Address']}:{entry['Service']['Port']}"
        assert caller_of(address) == "consul-clients"
        assert names_of(names, "back.mesh", "A") == [entry["Service"]["Address"]]
        assert "consul-clients" not in consul.Consul(host="127.0.0.1", port=http).catalog.services()[1]

        mesh.apply(DENIED.replace("only-front", "only-left").replace("[front]", "[left]"))
        until(lambda: requests.get(f"http://{address}/echo", timeout=60).status_code == 403, "denied")
        assert requests.get(f"http://127.0.0.1:{right}/", timeout=60).status_code == 403
        assert caller(left).endswith("/service/left")
        mesh.delete("Authorization", "only-left")

        def edges() -> set[tuple[str, str]]:
            topology = json.loads(mesh.run("topology", "-o", "json").stdout)
            return {(edge["from"], edge["to"]) for edge in topology["edges"]}

        expected = {(name, "back") for name in ("left", "right", "consul-clients")}
        until(lambda: expected <= edges(), "all callers are in the topology")


def test_a_host_whose_control_plane_is_elsewhere_registers_what_it_has_tokens_for(
    mesh: Mesh, tmp_path: Path
) -> None:
    tokens, state = tmp_path / "tokens", tmp_path / "state"
    tokens.mkdir()
    target = ("--control-plane", "127.0.0.1", "--token-folder", str(tokens))
    environment = {
        "MESH_API": json.loads((mesh.state / "mesh.json").read_text())["admin"],
        "MESH_TOKEN_FILE": str(mesh.state / "read.token"),
    }
    without_folder = mesh.run("consul", *target[:2], check=False)
    assert "--token-folder" in without_folder.stderr
    without_api = mesh.run("consul", *target, check=False)
    assert "set MESH_API" in without_api.stderr
    mesh.run("token", "create", "--service", "far", "--out", str(tokens / "far"))
    with (
        registry(mesh, *target, state=state, environment=environment) as (http, _),
        self_registering(http, "far") as far,
    ):
        headers = requests.get(f"http://127.0.0.1:{far}/", timeout=60).json()["headers"]
        assert headers["x-forwarded-client-cert"].endswith("/service/far")
        body = {"Name": "other", "Port": far}
        refused = requests.put(f"http://127.0.0.1:{http}/v1/agent/service/register", json=body, timeout=60)
        assert (refused.status_code, "no join token for service other" in refused.text) == (400, True)
        assert not (state / "admin.token").exists()


def caller_of(address: str) -> str:
    headers = requests.get(f"http://{address}/echo", timeout=60).json()["headers"]
    return str(headers["x-forwarded-client-cert"]).rpartition("/service/")[2]


@contextmanager
def self_registering(http: int, name: str) -> Iterator[int]:
    """An application that registers itself; its port."""
    argv = [sys.executable, "-c", APP, str(http), name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            until(lambda: requests.get(f"http://127.0.0.1:{port}/", timeout=60).ok, "its sidecar runs")
            yield port
        finally:
            process.terminate()
            consul.Consul(host="127.0.0.1", port=http).agent.service.deregister(name)


DENIED = """
apiVersion: meshwright.io/v1
kind: Authorization
metadata: {name: only-front}
spec:
  targetRefs: [{kind: Service, name: back}]
  rules: [{from: [{services: [front]}]}]
"""


def test_a_registration_survives_a_restart_of_the_registry_and_needs_the_token(
    mesh: Mesh, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    with app("cart") as (port, _):
        with registry(mesh, "--acl-token-file", str(token)) as (http, _names):
            with pytest.raises(consul.ACLPermissionDenied):
                consul.Consul(host="127.0.0.1", port=http).agent.services()
            client = consul.Consul(host="127.0.0.1", port=http, token=TOKEN)
            client.agent.service.register("cart", port=port, check=consul.Check.tcp("127.0.0.1", port, "1s"))
            until(lambda: healthy_instances(mesh, "cart") == 1, "it is healthy")
        until(lambda: healthy_instances(mesh, "cart") == 0, "the registry has stopped")
        with registry(mesh) as (http, _names):
            until(lambda: healthy_instances(mesh, "cart") == 1, "it is healthy again")
            consul.Consul(host="127.0.0.1", port=http).agent.service.deregister("cart")


def test_addresses_that_clients_keep_lead_on_after_a_restart_of_the_registry(mesh: Mesh) -> None:
    with app("one") as (first, _), app("two") as (second, _):
        with registry(mesh) as (http, _names):
            agent = consul.Consul(host="127.0.0.1", port=http)
            agent.agent.service.register("one", port=first)
            cached = [looked_up(agent, "back")]  # as the host's only service
            agent.agent.service.register("two", port=second)
            cached.append(looked_up(agent, "back"))  # as consul-clients
        assert len({*cached}) == 2
        with registry(mesh) as (http, _names):
            for address, caller in zip(cached, ("one", "consul-clients"), strict=True):
                until(partial(responds, address), "the address leads to the service again")
                assert caller_of(address) == caller
            agent = consul.Consul(host="127.0.0.1", port=http)
            assert looked_up(agent, "back") == cached[1]
            assert looked_up(agent, "front") not in cached
            agent.agent.service.deregister("one")
            agent.agent.service.deregister("two")


def looked_up(agent: consul.Consul, service: str) -> str:
    """The address of a service, which may be new."""
    until(lambda: agent.health.service(service, passing=True)[1], "it is found")
    (entry,) = agent.health.service(service, passing=True)[1]
    return f"{entry['Service']['Address']}:{entry['Service']['Port']}"


def responds(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/echo", timeout=60).status_code == 200
    except requests.ConnectionError:
        return False


def test_an_application_with_the_client_for_node_is_part_of_the_mesh(mesh: Mesh, tmp_path: Path) -> None:
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--prefer-offline")
    install = ["npm", "install", "--prefix", str(tmp_path), *quiet, "consul@2.0.1"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=150, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with registry(mesh) as (http, _names), app("cart") as (port, _):
        argv = ["node", "-e", NODE, str(http), str(port), TOKEN]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
    assert (result["id"], result["tags"], result["own"]) == ("cart:1", ["node"], ["cart:1"])
    assert {"cart", "front", "back"} <= {*result["names"]}
    assert result["echo"]["name"] == "cart"
    assert "service/cart" in result["echo"]["headers"]["x-forwarded-client-cert"]
