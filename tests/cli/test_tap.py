"""`mesh tap` reconnects to the control plane and says how long it saw nothing."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO, Any, ClassVar

import pytest

from meshwright.control_plane.api.models.requests import TapEvent
from tests.control_plane.telemetry.log_exports import outbound_request
from tests.fakes.http_server import running_http_server

ROOT = Path(__file__).parents[2]
WITHIN = 60.0
"""Seconds to wait for a line."""

DISCONNECTED = "control plane disconnected: reconnecting; requests until then are missed"


class Taps(BaseHTTPRequestHandler):
    """An admin API with taps only. A stream ends at a None in `blocks`; the next stream continues after it.

    An int as the first block is the HTTP status by which the stream is rejected.
    """

    blocks: ClassVar[queue.Queue[Any]] = queue.Queue()

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            self._stream()

    def _stream(self) -> None:
        first: Any = self.blocks.get()
        if isinstance(first, int):
            self._start_response(first, "application/json")
            error = {"error": {"code": "not-found", "message": "no proxy of back is known"}}
            self.wfile.write(json.dumps(error).encode())
            return
        self._start_response(200, "text/event-stream")
        self.wfile.write(b": listening\n\n")
        while first is not None:
            self.wfile.write(first if isinstance(first, bytes) else f"data: {first}\n\n".encode())
            self.wfile.flush()
            first = self.blocks.get()

    def _start_response(self, status: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def state(tapping: int) -> str:
    return TapEvent(proxies=1, tapping=tapping).model_dump_json()


def request(path: str) -> str:
    return TapEvent(request=outbound_request("back", direction="inbound", path=path)).model_dump_json()


@pytest.fixture(autouse=True)
def blocks() -> Iterator[queue.Queue[Any]]:
    Taps.blocks = queue.Queue()
    yield Taps.blocks
    Taps.blocks.put(None)


@contextmanager
def api() -> Iterator[int]:
    """The fake API; its port. Open streams end with it."""
    with running_http_server(Taps) as port:
        yield port
    Taps.blocks.put(None)


@contextmanager
def tapping(folder: Path, port: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "mesh.json").write_text(json.dumps({"admin": f"http://127.0.0.1:{port}"}))
    (folder / "admin.token").write_text("a" * 43)
    command = [sys.executable, "-m", "meshwright.cli", "tap", "back", *arguments, "--state", str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=WITHIN)


def line(stream: IO[str] | None) -> str:
    """The next line; empty when the process has ended."""
    assert stream is not None
    return stream.readline().rstrip("\n")


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Send Ctrl-C; the exit code and the rest of stderr."""
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=WITHIN)
    return process.returncode, rest


def test_tap_continues_when_the_control_plane_is_back(tmp_path: Path, blocks: queue.Queue[Any]) -> None:
    for block in (state(1), request("/before"), b'data: {"request": {"pa', None):
        blocks.put(block)
    with api() as port, tapping(tmp_path, port, "-o", "json") as process:
        assert line(process.stderr) == "tapping back: 1 of 1 proxies"
        assert json.loads(line(process.stdout))["path"] == "/before"
        assert line(process.stderr) == DISCONNECTED
        for later_block in (404, state(0), None, state(1), request("/after")):
            blocks.put(later_block)
        assert line(process.stderr) == "tapping back: 0 of 1 proxies"
        assert line(process.stderr) == "tapping back: 1 of 1 proxies"
        notice = re.fullmatch(
            r"tapping back again after (\d+\.\d) s: requests of that time may be missing",
            line(process.stderr),
        )
        assert notice and float(notice[1]) >= 1.5, "three attempts: after 0.5 s, 1 s and 0.5 s"
        assert json.loads(line(process.stdout))["path"] == "/after"
        assert end(process) == (0, "")


def test_ctrl_c_while_disconnected_reports_the_outage(tmp_path: Path, blocks: queue.Queue[Any]) -> None:
    blocks.put(state(1))
    with api() as port, tapping(tmp_path, port) as process:
        assert line(process.stderr) == "tapping back: 1 of 1 proxies"
        blocks.put(None)
        assert line(process.stderr) == DISCONNECTED
        code, stderr = end(process)
        assert code == 0
        assert re.fullmatch(
            r"stopped while disconnected: requests of the last \d+\.\d s are missing\n", stderr
        )


def test_for_ends_the_tap_while_disconnected(tmp_path: Path, blocks: queue.Queue[Any]) -> None:
    blocks.put(state(1))
    blocks.put(None)
    with api() as port, tapping(tmp_path, port, "--for", "6s") as process:
        _, stderr = process.communicate(timeout=WITHIN)
    assert process.returncode == 0
    assert stderr.splitlines()[:2] == ["tapping back: 1 of 1 proxies", DISCONNECTED]
    assert stderr.splitlines()[2].startswith("stopped while disconnected: ")


def test_tap_fails_at_once_if_it_never_connected(tmp_path: Path) -> None:
    with api() as port:
        pass
    with tapping(tmp_path, port) as process:
        _, stderr = process.communicate(timeout=WITHIN)
    assert (process.returncode, "not reachable" in stderr) == (3, True)


def test_an_unknown_service_ends_the_tap(tmp_path: Path, blocks: queue.Queue[Any]) -> None:
    blocks.put(404)
    with api() as port, tapping(tmp_path, port) as process:
        _, stderr = process.communicate(timeout=WITHIN)
    assert (process.returncode, stderr) == (2, "no proxy of back is known\n")
