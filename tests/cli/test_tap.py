"""`mesh tap` goes on when the control plane was away, and says for how long it saw nothing."""

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
from tests.control_plane.telemetry.records import outbound_request
from tests.fakes.http_server import running_http_server

ROOT = Path(__file__).parents[2]
WITHIN = 30.0
"""Seconds for a line to come."""

AWAY = "the control plane is away: waiting for it, requests meanwhile are not seen"


class Taps(BaseHTTPRequestHandler):
    """An admin API that knows taps only: a stream ends at the None in `blocks`, the next one takes the rest.

    Where an int comes first it is the status by which the stream is refused.
    """

    blocks: ClassVar[queue.Queue[Any]] = queue.Queue()

    def do_GET(self) -> None:
        with suppress(ConnectionError):
            self._tell()

    def _tell(self) -> None:
        first: Any = self.blocks.get()
        if isinstance(first, int):
            self._answer(first, "application/json")
            fault = {"error": {"code": "not-found", "message": "no proxy of back is known"}}
            self.wfile.write(json.dumps(fault).encode())
            return
        self._answer(200, "text/event-stream")
        self.wfile.write(b": listening\n\n")
        while first is not None:
            self.wfile.write(first if isinstance(first, bytes) else f"data: {first}\n\n".encode())
            self.wfile.flush()
            first = self.blocks.get()

    def _answer(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def log_message(self, *_words: Any) -> None:
        """Nothing."""


def state(listening: int) -> str:
    return TapEvent(proxies=1, tapping=listening).model_dump_json()


def request(path: str) -> str:
    return TapEvent(request=outbound_request("back", direction="inbound", path=path)).model_dump_json()


@pytest.fixture(autouse=True)
def blocks() -> Iterator[queue.Queue[Any]]:
    Taps.blocks = queue.Queue()
    yield Taps.blocks
    Taps.blocks.put(None)


@contextmanager
def api() -> Iterator[int]:
    """The API; the port it has. A stream that is open ends with it."""
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
    """The next line; the end of the process is one too."""
    assert stream is not None
    return stream.readline().rstrip("\n")


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Ctrl-C; the exit code and the rest of stderr."""
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=WITHIN)
    return process.returncode, rest


def test_it_goes_on_when_the_control_plane_is_back(tmp_path: Path, blocks: queue.Queue[Any]) -> None:
    for block in (state(1), request("/before"), b'data: {"request": {"pa', None):
        blocks.put(block)
    with api() as port, tapping(tmp_path, port, "-o", "json") as process:
        assert line(process.stderr) == "tapping back: 1 of 1 proxies"
        assert json.loads(line(process.stdout))["path"] == "/before"
        assert line(process.stderr) == AWAY
        for later in (404, state(0), None, state(1), request("/after")):
            blocks.put(later)
        assert line(process.stderr) == "tapping back: 0 of 1 proxies"
        assert line(process.stderr) == "tapping back: 1 of 1 proxies"
        found = re.fullmatch(
            r"tapping back again after (\d+\.\d) s: requests of that time may be missing",
            line(process.stderr),
        )
        assert found and float(found[1]) >= 1.5, "three tries: after 0.5 s, one more and 0.5 s"
        assert json.loads(line(process.stdout))["path"] == "/after"
        assert end(process) == (0, "")


def test_who_ends_it_meanwhile_is_told_of_what_was_not_seen(tmp_path: Path, blocks: queue.Queue[Any]) -> None:
    blocks.put(state(1))
    with api() as port, tapping(tmp_path, port) as process:
        assert line(process.stderr) == "tapping back: 1 of 1 proxies"
        blocks.put(None)
        assert line(process.stderr) == AWAY
        code, said = end(process)
        assert code == 0
        assert re.fullmatch(r"ended blind: nothing was seen of the last \d+\.\d s\n", said)


def test_its_time_ends_while_nobody_answers(tmp_path: Path, blocks: queue.Queue[Any]) -> None:
    blocks.put(state(1))
    blocks.put(None)
    with api() as port, tapping(tmp_path, port, "--for", "6s") as process:
        _, said = process.communicate(timeout=WITHIN)
    assert process.returncode == 0
    assert said.splitlines()[:2] == ["tapping back: 1 of 1 proxies", AWAY]
    assert said.splitlines()[2].startswith("ended blind: ")


def test_where_no_control_plane_was_it_does_not_wait(tmp_path: Path) -> None:
    with api() as port:
        pass
    with tapping(tmp_path, port) as process:
        _, said = process.communicate(timeout=WITHIN)
    assert (process.returncode, "not reachable" in said) == (3, True)


def test_a_service_that_is_not_there_ends_it(tmp_path: Path, blocks: queue.Queue[Any]) -> None:
    blocks.put(404)
    with api() as port, tapping(tmp_path, port) as process:
        _, said = process.communicate(timeout=WITHIN)
    assert (process.returncode, said) == (2, "no proxy of back is known\n")
