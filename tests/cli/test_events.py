"""`mesh events`: tables and JSON, and -f across a restart of the control plane."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar, get_args
from urllib.parse import parse_qs, urlsplit

import pytest

from meshwright.cli.events import EventKindChoice
from meshwright.cli.output import with_times
from meshwright.control_plane.api.models.events import EventKind, event_sort_key
from tests.fakes.http_server import running_http_server

ROOT = Path(__file__).parents[2]


def event(number: int, **fields: Any) -> dict[str, Any]:
    defaults = {
        "id": f"{number}-0", "time": 1_700_000_000 + number, "kind": "breaker", "subject": "front → back",
        "message": f"breaker opened {number}", "severity": "error", "author": "", "revision": 0,
    }  # fmt: skip
    return {**defaults, **fields}


class Events(BaseHTTPRequestHandler):
    """An admin API with events only. A stream ends after the last event, or once `hold` is set."""

    events: ClassVar[list[dict[str, Any]]] = []
    busy_responses: ClassVar[int] = 0
    """Number of streams to reject as busy before the first is served."""
    rejects_streams: ClassVar[bool] = False
    hold: ClassVar[threading.Event | None] = None
    opened: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        query = {name: value[0] for name, value in parse_qs(urlsplit(self.path).query).items()}
        matching = [event for event in self.events if query.get("kind", event["kind"]) == event["kind"]]
        if self.rejects_streams and self.headers["Accept"] == "text/event-stream":
            self._send(400, "application/json", json.dumps({"error": {"code": "invalid", "message": "kind"}}))
        elif self.headers["Accept"] == "text/event-stream" and Events.busy_responses:
            Events.busy_responses -= 1
            error = {"error": {"code": "busy", "message": "64 streams are open already: close one"}}
            self._send(503, "application/json", json.dumps(error))
        elif self.headers["Accept"] == "text/event-stream":
            after = event_sort_key(self.headers.get("Last-Event-ID", "0-0"))
            fresh = [event for event in matching if event_sort_key(event["id"]) > after]
            blocks = [
                f"id: {event['id']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n" for event in fresh
            ]
            hold = self.hold
            self._send(200, "text/event-stream", "retry: 1000\n\n: nothing new\n\n" + "".join(blocks))
            self.opened.set()
            if hold:
                hold.wait(60)
        else:
            newest = matching[::-1][: int(query["limit"])]
            self._send(200, "application/json", json.dumps({"events": newest}))

    def _send(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def past() -> Iterator[list[dict[str, Any]]]:
    """The events of the fake; a test may append some."""
    Events.events[:] = [event(number) for number in (1, 2, 3)]
    yield Events.events
    Events.events.clear()


def start(state: Path, port: int, *arguments: str) -> subprocess.Popen[str]:
    state.mkdir(exist_ok=True)
    (state / "mesh.json").write_text(json.dumps({"admin": f"http://127.0.0.1:{port}"}))
    (state / "admin.token").write_text("a" * 43)
    command = [sys.executable, "-m", "meshwright.cli", "events", *arguments, "--state", str(state)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TZ": "UTC", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(state: Path, *arguments: str) -> tuple[int, str, str]:
    with running_http_server(Events) as port:
        process = start(state, port, *arguments)
        out, err = process.communicate(timeout=90)
    return process.returncode, out, err


def test_newest_events_come_last(tmp_path: Path, past: list[dict[str, Any]]) -> None:
    past.append(event(4, kind="revision", subject="revision 9", message="created X", severity="info",
                      author="ann", revision=9))  # fmt: skip
    past.append(event(5, kind="nack", subject="a\x1b[31m", message="no", author="ann", revision=9))
    code, out, _ = run(tmp_path, "-n", "3")
    assert code == 0
    assert out.splitlines() == [
        "TIME                 KIND       EVENT",
        "2023-11-14 22:13:23  breaker    × front → back: breaker opened 3",
        "2023-11-14 22:13:24  revision   ● revision 9: created X, by ann",
        "2023-11-14 22:13:25  nack       × a [31m: no (revision 9, by ann)",
    ]


def test_json_has_every_field_and_kind_filters(tmp_path: Path, past: list[dict[str, Any]]) -> None:
    past.append(event(4, kind="svid"))
    _, out, _ = run(tmp_path, "-o", "json", "--kind", "breaker")
    assert json.loads(out) == {"items": with_times([event(1), event(2), event(3)])}
    code, _, err = run(tmp_path, "--kind", "nonsense")
    assert (code, "'nonsense' is not one of" in err) == (2, True)


def test_kinds_are_those_of_the_api() -> None:
    assert {kind.value for kind in EventKindChoice} == set(get_args(EventKind))


def test_follow_survives_a_restart_of_the_control_plane_without_gaps(
    tmp_path: Path, past: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    holds = [threading.Event(), threading.Event()]
    monkeypatch.setattr(Events, "hold", holds[0])
    monkeypatch.setattr(Events, "opened", threading.Event())
    with running_http_server(Events) as port:
        process = start(tmp_path, port, "-f", "-o", "json", "-n", "2")
        assert process.stdout
        lines = iter(process.stdout)
        seen += (json.loads(next(lines)) for _ in range(2))
        assert Events.opened.wait(60)
    past += [event(4), event(5)]
    Events.hold = holds[1]
    holds[0].set()
    with running_http_server(Events, port):
        seen += (json.loads(next(lines)) for _ in range(2))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        holds[1].set()
    assert process.returncode == 0
    assert [event["id"] for event in seen] == ["2-0", "3-0", "4-0", "5-0"]
    assert err.splitlines() == [
        "control plane disconnected: reconnecting; events since then will follow",
        "control plane reconnected",
    ]


def test_follow_waits_for_a_free_stream(
    tmp_path: Path, past: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Events, "busy_responses", 1)
    with running_http_server(Events) as port:
        process = start(tmp_path, port, "-f", "-o", "json", "-n", "1")
        assert process.stdout and process.stderr
        assert json.loads(next(iter(process.stdout)))["id"] == "3-0"
        assert (
            process.stderr.readline() == "64 streams are open already: close one; waiting for a free stream\n"
        )
        past.append(event(4))
        assert json.loads(next(iter(process.stdout)))["id"] == "4-0"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_follow_ends_when_the_api_rejects_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Events, "rejects_streams", True)
    code, _, err = run(tmp_path, "-f")
    assert (code, err) == (2, "kind\n")


def test_help_has_an_example() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshwright.cli", "events", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mesh events -f --kind breaker" in done.stdout
