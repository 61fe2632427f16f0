"""Turning any kind on, off, and another over it costs no request that it does not refuse, and no stream."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import requests
import trustme
from ruamel.yaml import YAML

from meshwright.control_plane.policies import registry
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.kind_changes import HEADERS, Change, changes
from tests.envoy.routes.certificates import VAULT, TlsClient, install, write
from tests.envoy.test_tcp import address, ask, connected
from tests.fakes.outside_server import Outside, running_outside
from tests.fakes.ports import free_port

CA = trustme.CA()
PUBLIC = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: public}
spec: {parentRefs: [{name: ingress}], rules: [{backendRefs: [{name: back}]}]}
"""
PAUSE = 0.02
"""Seconds between two calls of a thread."""

Call = Callable[[], None]


@dataclass
class Lab:
    """A mesh, the change of each kind in it, and what calls it."""

    mesh: Mesh
    changes: dict[str, Change]
    outside: Outside
    tls_port: int

    def open_calls(self, stack: ExitStack) -> dict[str, Call]:
        """Calls that no change refuses; each raises if it fails."""
        front = f"http://127.0.0.1:{self.mesh.ports('front-1')['outbound']}"
        ledger = address(self.mesh, "ledger")
        echo = stack.enter_context(channel(self.mesh)).unary_unary("/fake.Echo/Echo", None, None)

        def call_ledger() -> None:
            assert ask(ledger) == b"ledger-1: x\n"

        def call_echo() -> None:
            echo(b"{}", timeout=60)

        return {
            "ingress": http_call(f"http://127.0.0.1:{self.mesh.ingress_port}/delay?ms=1"),
            "back": http_call("http://back/delay?ms=1", front),
            "outside": http_call(f"http://{self.outside.authority}/x", front),
            "ledger": call_ledger,
            "echo": call_echo,
        }

    def secure_calls(self) -> dict[str, Call]:
        """Calls that a Gateway with a Certificate and a TLSRoute makes possible."""

        def call_https() -> None:
            client = TlsClient(None)
            assert client.get(self.tls_port, "localhost", "/delay?ms=1", HEADERS)[0] == 200

        def call_vault() -> None:
            with (
                TlsClient(VAULT).connect(self.tls_port, "a.vault.test") as secure,
                secure.makefile("rb") as lines,
            ):
                assert lines.readline() == b"vault-1 a.vault.test\n"

        return {"https": call_https, "vault": call_vault}

    @contextmanager
    def under_load(self) -> Iterator[None]:
        """HTTP through the ingress and between sidecars, gRPC, TCP and an address outside."""
        with ExitStack() as stack:
            for name, call in self.open_calls(stack).items():
                stack.enter_context(repeated(name, call))
            yield

    def turn_on_over_and_off(self, change: Change) -> None:
        """Apply the documents of a change, those over them, the first ones again, and delete them all."""
        documents = "".join(text_of(document) for document in distinct(change.needs + change.on))
        is_secure = "kind: TLSRoute" in documents
        with self.under_load():
            self.mesh.apply(documents)
            with ExitStack() as stack:
                if is_secure:
                    until(lambda: all(map(succeeds, self.secure_calls().values())), "TLS at the gateway")
                    for name, call in self.secure_calls().items():
                        stack.enter_context(repeated(name, call))
                self.mesh.apply(change.over)
                self.mesh.apply(documents)
            self.mesh.run("delete", "-f", "-", "--wait", stdin=documents)


def distinct(text: str) -> list[Any]:
    """The documents, each kind and name once."""
    documents = [document for document in YAML(typ="safe").load_all(text) if document]
    return list({(item["kind"], item["metadata"]["name"]): item for item in documents}.values())


def text_of(document: Any) -> str:
    """A document as YAML, of which JSON is a part."""
    return f"---\n{json.dumps(document)}\n"


@contextmanager
def channel(mesh: Mesh) -> Iterator[grpc.Channel]:
    """gRPC through the sidecar of front."""
    options = [("grpc.default_authority", "echo"), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{mesh.ports('front-1')['outbound']}", options) as through:
        yield through


def http_call(url: str, proxy: str = "") -> Call:
    """A request that has to succeed, on a connection of its own that is kept."""
    session = requests.Session()
    session.trust_env = False

    def call() -> None:
        response = session.get(url, headers=HEADERS, proxies={"http": proxy}, timeout=60)
        assert response.status_code == 200, f"{response.status_code} {response.text}"

    return call


def succeeds(call: Call) -> bool:
    """Whether a call does not fail."""
    try:
        call()
    except (OSError, AssertionError):
        return False
    return True


@contextmanager
def repeated(name: str, call: Call) -> Iterator[None]:
    """Repeat a call in a thread for the duration of the block; one that fails fails the test."""
    failures: list[Exception] = []
    stopped = threading.Event()

    def run() -> None:
        while not stopped.is_set():
            try:
                call()
            except Exception as error:  # whatever it is, the test reports it
                failures.append(error)
            stopped.wait(PAUSE)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    assert not failures, f"{len(failures)} calls of {name} failed: {failures[0]!r}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder, tls_port = tmp_path_factory.mktemp("mesh"), free_port()
    write(VAULT.issue_cert("*.vault.test"), folder / "vault")
    files = [str(folder / f"vault.{end}") for end in ("crt", "key")]
    fakes = {"echo": ("grpc", []), "ledger": ("tcp", []), "vault": ("tls", files)}
    others = [
        service(name, labels={"version": "v1"})
        | {
            "command": [sys.executable, "-m", f"tests.fakes.{fake}_app", *arguments],
            "ports": [{"name": fake, "protocol": "grpc" if fake == "grpc" else "tcp"}],
            "health": {"interval": "1s"},
        }
        for name, (fake, arguments) in fakes.items()
    ]
    versions = [service("back", labels={"version": version}) for version in ("v1", "v2")]
    front = service("front") | {"upstreams": ["ledger"]}
    with running_outside("127.0.0.31") as server, running_mesh(folder, [front, *versions, *others]) as mesh:
        for name in ("shop", "again"):
            install(mesh, name, CA.issue_cert("127.0.0.1"))
        mesh.apply(PUBLIC)
        yield Lab(mesh, changes(mesh.ingress_port, tls_port, server.authority), server, tls_port)


def test_each_kind_has_a_change(lab: Lab) -> None:
    assert sorted(lab.changes) == sorted(registry.kinds())


def test_turning_all_kinds_on_over_and_off_under_load_fails_no_request(lab: Lab) -> None:
    parts = ("on", "over", "needs")
    together = Change(*("".join(getattr(item, part) for item in lab.changes.values()) for part in parts))
    lab.turn_on_over_and_off(together)


class Stream:
    """Lines that arrive in a thread."""

    def __init__(self, lines: Iterable[Any]) -> None:
        self.count = 0
        self.end = ""
        self._lines = lines
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for _ in self._lines:
                self.count += 1
        except Exception as error:  # whatever it is, the test reports it
            self.end = repr(error)
        self.end = self.end or "it ended"


@pytest.fixture(scope="module")
def streams(lab: Lab) -> Iterator[dict[str, Stream]]:
    """Long streams, through the ingress and between sidecars, during which each kind comes and goes."""
    path = "/stream?seconds=3600&every=0.2"
    front = lab.mesh.caller("front-1")
    with ExitStack() as stack:
        edge, inside = (
            stack.enter_context(caller.get(url + path, headers=HEADERS, stream=True, timeout=120))
            for caller, url in (
                (requests.Session(), f"http://127.0.0.1:{lab.mesh.ingress_port}"),
                (front, "http://back"),
            )
        )
        stream = stack.enter_context(channel(lab.mesh)).unary_stream("/fake.Echo/Stream", None, None)
        lines = stack.enter_context(connected(address(lab.mesh, "ledger")))

        def conversation() -> Iterator[bytes]:
            while True:
                lines.write(b"x\n")
                yield lines.readline()

        yield {
            "ingress": Stream(edge.iter_lines()),
            "front": Stream(inside.iter_lines()),
            "echo": Stream(stream(json.dumps({"seconds": 3600, "every": 0.2}).encode())),
            "ledger": Stream(conversation()),
        }


@pytest.mark.long
@pytest.mark.parametrize("kind", registry.kinds())
def test_turning_a_kind_on_over_and_off_under_load_fails_no_request_and_cuts_no_stream(
    lab: Lab, streams: dict[str, Stream], kind: str
) -> None:
    lab.turn_on_over_and_off(lab.changes[kind])
    seen = {name: stream.count for name, stream in streams.items()}
    until(
        lambda: all(stream.count > seen[name] or stream.end for name, stream in streams.items()),
        "streams go on",
    )
    assert not {name: stream.end for name, stream in streams.items() if stream.end}
