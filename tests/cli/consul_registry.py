"""`mesh consul` of a test, and questions to its DNS."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import requests

from tests.cli.joining import command
from tests.envoy.harness import ROOT, Mesh, until
from tests.fakes.ports import free_port


@contextmanager
def registry(
    mesh: Mesh, *arguments: str, state: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[tuple[int, int]]:
    """`mesh consul`, beside the mesh or with another state directory; its HTTP and DNS ports."""
    http, names = free_port(), free_port()
    with (mesh.state.parent / "consul.log").open("a") as log:
        process = subprocess.Popen(
            command(
                "consul",
                "--state",
                str(state or mesh.state),
                "--http-port",
                str(http),
                "--dns-port",
                str(names),
                *arguments,
            ),
            stderr=log,
            env={**mesh.environment, **(environment or {})},
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        until(lambda: responds(http), "the registry serves")
        yield http, names
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def responds(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/v1/agent/self", timeout=60).status_code in (200, 403)
    except requests.ConnectionError:
        return False


def names_of(port: int, name: str, kind: str) -> list[str]:
    response = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=60)
    return [record.to_text() for records in response.answer for record in records]
