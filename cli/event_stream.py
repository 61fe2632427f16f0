"""The admin API's event stream, read with the standard library and for ever: a lost one is taken up again."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from cli.failing import warn
from control_plane.api import discovery, failures
from control_plane.api.failures import ApiError, UnreachableError
from control_plane.api.operations import PREFIX

SILENCE = 40.0
"""Seconds without a byte after which a stream is dead: a comment comes every 15."""

AGAIN = 1.0
"""Seconds between two tries to connect."""

LINE_LIMIT = 1024 * 1024
"""Bytes of a line: far more than an event has."""


def follow(state: Path | None, kind: str, last: str) -> Iterator[dict[str, Any]]:
    """Events after the one with the id `last` (empty: from now on), for ever.

    Says once on stderr when the control plane is away, and once when it is back. Raises ApiError for a
    request that it refuses.
    """
    away = False
    while True:
        try:
            for event in _stream(state, kind, last):
                if away:
                    away = False
                    warn("the control plane is back")
                if event:
                    last = event["id"]
                    yield event
        except ApiError as error:
            if error.status < 500:
                raise
            if error.code == "busy" and not away:
                away = True
                warn(f"{error}; waiting for room")
        except (UnreachableError, OSError, http.client.HTTPException):
            pass
        if not away:
            away = True
            warn("the control plane is away: waiting for it, what is missed will be shown")
        time.sleep(AGAIN)


def _stream(state: Path | None, kind: str, last: str) -> Iterator[dict[str, Any]]:
    """Events of one connection until it ends; the first is empty and says that it stands."""
    query = f"?{urlencode({'kind': kind})}" if kind else ""
    for name, value in read(state, f"{PREFIX}/events{query}", last):
        if name in ("", "data"):
            yield json.loads(value) if name else {}


def read(
    state: Path | None, path: str, last: str = "", until: float | None = None
) -> Iterator[tuple[str, str]]:
    """The fields of the stream at `path` as name and value, until it ends; the first has neither.

    `until`: TimeoutError is raised then, by the monotonic clock. Raises ApiError for a refusal, and
    UnreachableError, OSError or HTTPException for a stream that breaks.
    """
    endpoint = discovery.find(os.environ, state)
    parts = urlsplit(endpoint.url)
    scheme = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = scheme(parts.hostname or "", parts.port, timeout=SILENCE)
    headers = {"Authorization": f"Bearer {endpoint.token}", "Accept": "text/event-stream"}
    if last:
        headers["Last-Event-ID"] = last
    try:
        connection.connect()
        socket = connection.sock
        connection.request("GET", f"{parts.path}{path}", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            failures.decode(answer.status, answer.read())
            return
        yield "", ""
        while True:
            if until is not None:
                socket.settimeout(max(0.001, min(SILENCE, until - time.monotonic())))
            line = answer.readline(LINE_LIMIT)
            if not line:
                return
            name, _, value = line.decode("utf-8", "replace").rstrip("\n").partition(": ")
            if name:
                yield name, value
    finally:
        connection.close()
