"""`mesh run`: foreign processes become part of a running mesh, with real Envoys beside them."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
import requests

from tests.cli.joining import IDENTITY, command, healthy_instances, joined
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until

NODE = """
const http = require('http');
let count = 0;
http.createServer((request, response) => {
  if (request.url === '/flaky' && count++ % 2 === 0) { response.writeHead(503); response.end(); return; }
  if (request.url.startsWith('/call/')) {
    const proxy = new URL(process.env.HTTP_PROXY);
    const target = 'http://' + request.url.slice(6);
    http.get({host: proxy.hostname, port: proxy.port, path: target, headers: {host: new URL(target).host}},
      (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); });
    return;
  }
  response.end(JSON.stringify({served: process.env.INSTANCE, headers: request.headers}));
}).listen(process.env.PORT, '127.0.0.1');
"""

NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {
    listen 127.0.0.1:@PORT@;
    location / { return 200 "$http_x_forwarded_client_cert"; }
    location /shop/ { proxy_pass @PROXY@/; proxy_set_header Host shop; }
  }
}
"""

MARK = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: docs}
spec:
  parentRefs: [{group: "", kind: Service, name: docs}]
  rules:
  - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-policy, value: seen}]}}]
    backendRefs: [{name: docs}]
"""

RETRY = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: shop}
spec: {targetRefs: [{kind: Service, name: shop}], attempts: 2, on: [5xx]}
"""

WHO = """
import concurrent.futures, grpc, os
def who(request, context):
    return dict(context.invocation_metadata())['x-forwarded-client-cert'].encode()
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
handler = grpc.method_handlers_generic_handler('lab.Who', {'Ask': grpc.unary_unary_rpc_method_handler(who)})
server.add_generic_rpc_handlers((handler,))
assert server.add_insecure_port('127.0.0.1:' + os.environ['PORT'])
server.start()
server.wait_for_termination()
"""


ASK_WHO = """
import grpc
with grpc.insecure_channel('who') as channel:
    print(channel.unary_unary('/lab.Who/Ask', None, None)(b'', timeout=20).decode())
"""

TALK = """
import signal, sys
def told(*_):
    print('told', flush=True)
    sys.exit(5)
signal.signal(signal.SIGINT, told)
print('got', input(), flush=True)
while True:
    signal.pause()
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as found:
        yield found


def once(mesh: Mesh, *run: str, stdin: str = "", service: str = "probe") -> subprocess.CompletedProcess[str]:
    """A process that only calls others, run to its end."""
    argv = command("run", "--service", service, "--state", str(mesh.state), "--", *run)
    return subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=90,
        env=mesh.environment,
        cwd=ROOT,
        check=False,
    )


# --- what joins ------------------------------------------------------------------------------------


def test_a_plain_python_server_joins_and_policies_reach_its_callers(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("a page")
    serve = f"exec {sys.executable} -m http.server $PORT --bind 127.0.0.1 --directory {tmp_path}"
    with joined(mesh, "docs-1", "docs", "--port", "0", run=("sh", "-c", serve)) as docs:
        answer = mesh.get("front-1", "http://docs/page.txt")
        assert (answer.status_code, answer.text) == (200, "a page")
        mesh.apply(MARK)
        assert mesh.get("front-1", "http://docs/page.txt").headers["x-policy"] == "seen"
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{docs.port('inbound')}/page.txt", timeout=30)


def test_a_node_server_is_called_and_calls_by_identity_and_policy(mesh: Mesh) -> None:
    with joined(mesh, "shop-1", "shop", "--port", "0", run=("node", "-e", NODE)):
        called = mesh.get("front-1", "http://shop/").json()
        assert called["headers"]["x-forwarded-client-cert"].endswith(f"URI={IDENTITY}/front")
        calls = mesh.get("front-1", "http://shop/call/back/echo").json()
        assert calls["headers"]["x-forwarded-client-cert"].endswith(f"URI={IDENTITY}/shop")
        assert [mesh.get("front-1", "http://shop/flaky").status_code for _ in range(4)] == [
            503,
            200,
            503,
            200,
        ]
        mesh.apply(RETRY)
        assert [mesh.get("front-1", "http://shop/flaky").status_code for _ in range(8)] == [200] * 8


def test_nginx_joins_and_passes_on_through_its_sidecar(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "template").write_text(NGINX)
    nginx = next(each for each in ("/usr/sbin/nginx", "/usr/bin/nginx") if os.access(each, os.X_OK))
    fill = f'cd {tmp_path} && sed "s|@PORT@|$PORT|; s|@PROXY@|$HTTP_PROXY|" template > nginx.conf'
    start = f"{fill} && exec {nginx} -p {tmp_path} -c nginx.conf -e stderr"
    with (
        joined(mesh, "shop-2", "shop", "--port", "0", run=("node", "-e", NODE)),
        joined(mesh, "web-1", "web", "--port", "0", run=("sh", "-c", start)),
    ):
        assert mesh.get("front-1", "http://web/").text.endswith(f"URI={IDENTITY}/front")
        through = mesh.get("front-1", "http://web/shop/").json()
        assert through["served"] == "shop-2"
        assert through["headers"]["x-forwarded-client-cert"].endswith(f"URI={IDENTITY}/web")


def test_a_grpc_server_joins(mesh: Mesh) -> None:
    arguments = ("--port", "0", "--protocol", "grpc")
    with joined(mesh, "who-1", "who", *arguments, run=(sys.executable, "-c", WHO)):
        target = f"127.0.0.1:{mesh.ports('front-1')['outbound']}"
        options = [("grpc.default_authority", "who"), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(target, options=options) as channel:
            answer = channel.unary_unary("/lab.Who/Ask", None, None)(b"", timeout=20)
        assert answer.decode().endswith(f"URI={IDENTITY}/front")
        client = once(mesh, sys.executable, "-c", ASK_WHO)
        assert client.stdout.endswith(f"URI={IDENTITY}/probe\n"), client.stderr


def test_a_process_without_a_port_calls_at_once_for_its_sidecar_is_ready(mesh: Mesh) -> None:
    ask = "import urllib.request as u; print(u.urlopen('http://back/echo').read().decode())"
    done = once(mesh, sys.executable, "-c", ask)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["headers"]["x-forwarded-client-cert"].endswith(f"URI={IDENTITY}/probe")


def test_it_finds_its_way_in_the_environment(mesh: Mesh) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    found = json.loads(once(mesh, sys.executable, "-c", code).stdout)
    assert found["HTTP_PROXY"] == found["http_proxy"] == found["grpc_proxy"]
    assert found["NO_PROXY"] == found["no_proxy"]
    assert found["OTEL_SERVICE_NAME"] == "probe"
    assert found["INSTANCE"].startswith("probe-run-")
    assert found["PATH"] == mesh.environment["PATH"]
    assert not [name for name in found if name.startswith("MESH_")]


# --- how it ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_its_own(mesh: Mesh, script: str, code: int) -> None:
    assert once(mesh, "sh", "-c", script).returncode == code


def test_a_command_that_is_none_is_told_from_a_failure(mesh: Mesh, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    missing, forbidden = once(mesh, "no-such-thing"), once(mesh, str(plain))
    assert (missing.returncode, forbidden.returncode) == (127, 126)
    assert missing.stderr == "no-such-thing: no such command: name a program after --\n"


def test_a_port_that_another_has_is_told_at_once(mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        argv = command("run", "--service", "late", "--port", port, "--state", str(mesh.state), "--", "true")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--port {port}: is in use")


def test_its_input_and_output_are_ours(mesh: Mesh) -> None:
    done = once(mesh, "sh", "-c", "cat; echo wrong >&2", stdin="a line\n")
    assert done.stdout == "a line\n"
    assert "wrong\n" in done.stderr


def test_in_a_terminal_it_reads_what_is_typed_and_is_told_of_ctrl_c_by_us(mesh: Mesh) -> None:
    ours, theirs = pty.openpty()
    argv = command("run", "--service", "probe", "--state", str(mesh.state), "--", sys.executable, "-c", TALK)
    # The first of a new session to open a terminal is controlled by it, as a login shell is.
    shell = ["sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(theirs)]
    process = subprocess.Popen([*shell, *argv], env=mesh.environment, cwd=ROOT, start_new_session=True)
    try:
        seen = _read_until(ours, "joined as probe")
        os.write(ours, b"hello\n")
        seen += _read_until(ours, "got hello")
        os.write(ours, b"\x03")
        seen += _read_until(ours, "told")
        assert process.wait(60) == 5, seen
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        os.close(ours)
        os.close(theirs)


def _read_until(terminal: int, words: str) -> str:
    """What the terminal shows until it shows `words`."""
    seen = b""
    while words.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"not shown: {words!r} after {seen!r}"
        seen += os.read(terminal, 4096)
    return seen.decode()


def test_nothing_is_left_when_it_ended(mesh: Mesh) -> None:
    once(mesh, "true")
    assert list((mesh.state / "instances").iterdir()) == []


def test_a_process_that_crashes_leaves_the_mesh(mesh: Mesh) -> None:
    with joined(mesh, "shop-3", "shop", "--port", "0", run=("node", "-e", NODE)) as shop:
        proxy = psutil.Process(shop.pid("proxy"))
        os.kill(shop.pid("app"), signal.SIGKILL)
        assert shop.process.wait(40) == 137
        until(lambda: ended(proxy), "its proxy has ended")
        until(lambda: healthy_instances(mesh, "shop") == 0, "it is out")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_loses_no_request_and_is_passed_on(mesh: Mesh, number: signal.Signals, code: int) -> None:
    """Two replicas under load; one goes. Node.js dies of the signal that it is passed."""
    mesh.run("delete", "Retry", "shop", check=False)
    with (
        joined(mesh, "shop-4", "shop", "--port", "0", run=("node", "-e", NODE)) as goes,
        joined(mesh, "shop-5", "shop", "--port", "0", run=("node", "-e", NODE)),
    ):
        until(lambda: healthy_instances(mesh, "shop") == 2, "both are in")
        served: list[str] = []
        failed: list[str] = []
        over = threading.Event()
        caller = threading.Thread(target=_hammer, args=(mesh, served, failed, over))
        caller.start()
        try:
            until(lambda: {"shop-4", "shop-5"} <= set(served), "both serve")
            assert goes.stop(number) == code
            after = len(served)
            until(lambda: len(served) > after + 100, "the other serves on")
        finally:
            over.set()
            caller.join()
        assert failed == []
        assert set(served[after:]) == {"shop-5"}


def _hammer(mesh: Mesh, served: list[str], failed: list[str], over: threading.Event) -> None:
    session = mesh.caller("front-1")
    while not over.is_set():
        try:
            answer = session.get("http://shop/", timeout=10)
            answer.raise_for_status()
            served.append(answer.json()["served"])
        except requests.RequestException as error:
            failed.append(repr(error))


def test_a_killed_one_is_cleared_away_by_the_next(mesh: Mesh) -> None:
    with joined(mesh, "shop-6", "shop", "--port", "0", run=("node", "-e", NODE)) as shop:
        left = [psutil.Process(shop.pid(part)) for part in ("app", "proxy")]
        shop.process.kill()
        shop.process.wait(30)
        assert once(mesh, "true").returncode == 0
        until(lambda: all(map(ended, left)), "both have ended")
        assert not shop.folder.exists()


def ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or only waits for init to take note of its end."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- what it refuses -------------------------------------------------------------------------------


def test_two_of_one_name_are_refused(mesh: Mesh) -> None:
    with joined(mesh, "shop-7", "shop", "--port", "0", run=("node", "-e", NODE)):
        argv = command(
            "run", "--service", "shop", "--instance", "shop-7", "--state", str(mesh.state), "--", "true"
        )
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=60, env=mesh.environment, cwd=ROOT, check=False
        )
        assert done.returncode == 2
        assert "instance shop-7 runs here already" in done.stderr


def test_a_mesh_that_does_not_run_is_told_at_once(mesh: Mesh, tmp_path: Path) -> None:
    argv = command("run", "--service", "probe", "--state", str(tmp_path / "none"), "--", "true")
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, env=mesh.environment, cwd=ROOT, check=False
    )
    assert done.returncode == 3
    assert "mesh up" in done.stderr or "no mesh.json there" in done.stderr
