"""`mesh run`: processes of any kind join a running mesh, behind real Envoys."""

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
      (upstream) => { response.writeHead(upstream.statusCode, upstream.headers); upstream.pipe(response); });
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


CALL_WHO = """
import grpc
with grpc.insecure_channel('who') as channel:
    print(channel.unary_unary('/lab.Who/Ask', None, None)(b'', timeout=20).decode())
"""

TALK = """
import signal, sys
def interrupted(*_):
    print('interrupted', flush=True)
    sys.exit(5)
signal.signal(signal.SIGINT, interrupted)
print('got', input(), flush=True)
while True:
    signal.pause()
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        yield running


def once(mesh: Mesh, *run: str, stdin: str = "", service: str = "probe") -> subprocess.CompletedProcess[str]:
    """Run a process without a port to its end."""
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


# --- joining ---------------------------------------------------------------------------------------


def test_a_plain_python_server_joins_and_policies_reach_its_callers(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("a page")
    serve = f"exec {sys.executable} -m http.server $PORT --bind 127.0.0.1 --directory {tmp_path}"
    with joined(mesh, "docs-1", "docs", "--port", "0", run=("sh", "-c", serve)) as docs:
        response = mesh.get("front-1", "http://docs/page.txt")
        assert (response.status_code, response.text) == (200, "a page")
        mesh.apply(MARK)
        assert mesh.get("front-1", "http://docs/page.txt").headers["x-policy"] == "seen"
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{docs.port('inbound')}/page.txt", timeout=30)


def test_a_process_is_restarted_at_its_terminal(mesh: Mesh, tmp_path: Path) -> None:
    serve = f"echo $$ >> {tmp_path}/pids; exec {sys.executable} -m http.server $PORT --bind 127.0.0.1"
    with joined(mesh, "again-1", "again", "--port", "0", run=("sh", "-c", serve)) as again:
        mesh.run("restart", "again")
        assert mesh.get("front-1", "http://again/").status_code == 200
        assert again.process.poll() is None
    first, second = (tmp_path / "pids").read_text().split()
    assert first != second


def test_a_node_server_calls_and_is_called_with_identity_and_policy(mesh: Mesh) -> None:
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


def test_nginx_joins_and_proxies_through_its_sidecar(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "template").write_text(NGINX)
    nginx = next(path for path in ("/usr/sbin/nginx", "/usr/bin/nginx") if os.access(path, os.X_OK))
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
            response = channel.unary_unary("/lab.Who/Ask", None, None)(b"", timeout=20)
        assert response.decode().endswith(f"URI={IDENTITY}/front")
        client = once(mesh, sys.executable, "-c", CALL_WHO)
        assert client.stdout.endswith(f"URI={IDENTITY}/probe\n"), client.stderr


def test_a_process_without_a_port_can_call_at_once(mesh: Mesh) -> None:
    request = "import urllib.request as u; print(u.urlopen('http://back/echo').read().decode())"
    done = once(mesh, sys.executable, "-c", request)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["headers"]["x-forwarded-client-cert"].endswith(f"URI={IDENTITY}/probe")


def test_the_environment_has_the_proxy_and_no_settings_of_the_mesh(mesh: Mesh) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    environment = json.loads(once(mesh, sys.executable, "-c", code).stdout)
    assert environment["HTTP_PROXY"] == environment["http_proxy"] == environment["grpc_proxy"]
    assert environment["NO_PROXY"] == environment["no_proxy"]
    assert environment["OTEL_SERVICE_NAME"] == "probe"
    assert environment["INSTANCE"].startswith("probe-run-")
    assert environment["PATH"] == mesh.environment["PATH"]
    assert not [name for name in environment if name.startswith("MESH_")]


# --- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_that_of_the_process(mesh: Mesh, script: str, code: int) -> None:
    assert once(mesh, "sh", "-c", script).returncode == code


def test_the_error_output_says_why_the_app_is_unhealthy_and_how_it_ended(mesh: Mesh, tmp_path: Path) -> None:
    options = ("--service", "deaf", "--port", "0", "--startup", "0s", "--state", str(mesh.state))
    output = tmp_path / "stderr"
    with output.open("w") as file:
        process = subprocess.Popen(
            command("run", *options, "--", "sh", "-c", "echo $$ > pid; exec sleep 600"),
            stderr=file,
            env={**mesh.environment, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
        )
        try:
            until(lambda: "is unhealthy: app: nothing listens on 127.0.0.1:" in output.read_text(), "why", 60)
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
            assert process.wait(60) == 128 + signal.SIGKILL
        finally:
            process.kill()
    assert "was killed by SIGKILL" in output.read_text()


def test_a_missing_or_forbidden_program_has_the_exit_code_of_shells(mesh: Mesh, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    missing, forbidden = once(mesh, "no-such-thing"), once(mesh, str(plain))
    assert (missing.returncode, forbidden.returncode) == (127, 126)
    assert missing.stderr == "no-such-thing: command not found: give a program after --\n"


def test_a_port_in_use_is_reported_at_once(mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        argv = command("run", "--service", "late", "--port", port, "--state", str(mesh.state), "--", "true")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--port {port}: port in use")


def test_stdin_and_output_are_passed_through(mesh: Mesh) -> None:
    done = once(mesh, "sh", "-c", "cat; echo wrong >&2", stdin="a line\n")
    assert done.stdout == "a line\n"
    assert "wrong\n" in done.stderr


def test_in_a_terminal_it_reads_input_and_gets_ctrl_c(mesh: Mesh) -> None:
    ours, theirs = pty.openpty()
    argv = command("run", "--service", "probe", "--state", str(mesh.state), "--", sys.executable, "-c", TALK)
    # The first of a new session to open a terminal is controlled by it, as a login shell is.
    shell = ["sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', os.ttyname(theirs)]
    process = subprocess.Popen([*shell, *argv], env=mesh.environment, cwd=ROOT, start_new_session=True)
    try:
        output = _read_until(ours, "joined as probe")
        os.write(ours, b"hello\n")
        output += _read_until(ours, "got hello")
        os.write(ours, b"\x03")
        output += _read_until(ours, "interrupted")
        assert process.wait(60) == 5, output
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        os.close(ours)
        os.close(theirs)


def _read_until(terminal: int, words: str) -> str:
    """The output of the terminal up to `words`."""
    seen = b""
    while words.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, f"not shown: {words!r} after {seen!r}"
        seen += os.read(terminal, 4096)
    return seen.decode()


def test_the_instance_folder_is_removed_at_the_end(mesh: Mesh) -> None:
    once(mesh, "true")
    assert list((mesh.state / "instances").iterdir()) == []


def test_a_crashed_process_leaves_the_mesh(mesh: Mesh) -> None:
    with joined(mesh, "shop-3", "shop", "--port", "0", run=("node", "-e", NODE)) as shop:
        proxy = psutil.Process(shop.pid("proxy"))
        os.kill(shop.pid("app"), signal.SIGKILL)
        assert shop.process.wait(40) == 137
        until(lambda: ended(proxy), "its proxy has ended")
        until(lambda: healthy_instances(mesh, "shop") == 0, "it is out")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_drains_without_losing_a_request_and_is_forwarded(
    mesh: Mesh, number: signal.Signals, code: int
) -> None:
    """Two replicas under load; one stops. Node.js dies of the forwarded signal."""
    mesh.run("delete", "Retry", "shop", check=False)
    with (
        joined(mesh, "shop-4", "shop", "--port", "0", run=("node", "-e", NODE)) as leaving,
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
            assert leaving.stop(number) == code
            after = len(served)
            until(lambda: len(served) > after + 100, "the other continues")
        finally:
            over.set()
            caller.join()
        assert failed == []
        assert set(served[after:]) == {"shop-5"}


def _hammer(mesh: Mesh, served: list[str], failed: list[str], over: threading.Event) -> None:
    session = mesh.caller("front-1")
    while not over.is_set():
        try:
            response = session.get("http://shop/", timeout=60)
            response.raise_for_status()
            served.append(response.json()["served"])
        except requests.RequestException as error:
            failed.append(repr(error))


def test_the_next_run_removes_a_killed_one(mesh: Mesh) -> None:
    with joined(mesh, "shop-6", "shop", "--port", "0", run=("node", "-e", NODE)) as shop:
        orphans = [psutil.Process(shop.pid(part)) for part in ("app", "proxy")]
        shop.process.kill()
        shop.process.wait(30)
        assert once(mesh, "true").returncode == 0
        until(lambda: all(map(ended, orphans)), "both have ended")
        assert not shop.folder.exists()


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- errors ----------------------------------------------------------------------------------------


def test_a_second_instance_of_a_name_is_rejected(mesh: Mesh) -> None:
    with joined(mesh, "shop-7", "shop", "--port", "0", run=("node", "-e", NODE)):
        argv = command(
            "run", "--service", "shop", "--instance", "shop-7", "--state", str(mesh.state), "--", "true"
        )
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=60, env=mesh.environment, cwd=ROOT, check=False
        )
        assert done.returncode == 2
        assert "instance shop-7 is already running here" in done.stderr


def test_a_mesh_that_is_not_running_is_reported_at_once(mesh: Mesh, tmp_path: Path) -> None:
    argv = command("run", "--service", "probe", "--state", str(tmp_path / "none"), "--", "true")
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, env=mesh.environment, cwd=ROOT, check=False
    )
    assert done.returncode == 3
    assert "mesh up" in done.stderr or "it has no mesh.json" in done.stderr
