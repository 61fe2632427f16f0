"""The admin API's event streams, by the standard library and for ever: a lost one is taken up again."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from meshwright.cli.errors import warn
from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.calls import PREFIX
from meshwright.control_plane.api.errors import ApiError, UnreachableError

SILENCE_TIMEOUT = 40.0
"""Seconds without a byte after which a stream is dead: a comment comes every 15."""

MIN_RETRY_DELAY, MAX_RETRY_DELAY = 0.5, 5.0
"""Seconds until a lost stream is tried again: at first, and at most; each time twice as long."""

LINE_LIMIT = 1024 * 1024
"""Bytes of a line: far more than an event has."""

JsonObject = dict[str, Any]


class StreamSilentError(UnreachableError):
    """Nothing came for so long that nothing will."""


class ConnectionState:
    """Whether the control plane is heard, and since when not. That it is away is said once on stderr."""

    def __init__(self, notice: str, *, connected: bool = False) -> None:
        """`away`: what to say; `heard`: whether it was heard already, so that it is waited for."""
        self._away = notice
        self._since: float | None = None
        self.connected = connected

    @property
    def outage_seconds(self) -> float:
        """Seconds since it is not heard; 0 while it is."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def lost(self, error: ApiError | UnreachableError) -> None:
        """Note that a stream is lost; raises the error where waiting does not help."""
        refused = isinstance(error, ApiError) and error.status < 500
        # A control plane that has just started does not know its sidecars yet.
        starting = self.connected and isinstance(error, ApiError) and error.code == "not-found"
        if not self.connected or (refused and not starting):
            raise error
        if self._since is None:
            self._since = time.monotonic() - (
                SILENCE_TIMEOUT if isinstance(error, StreamSilentError) else 0.0
            )
            busy = isinstance(error, ApiError) and error.code == "busy"
            warn(f"{error}; waiting for room" if busy else self._away)

    def restored(self) -> float:
        """Note that it is heard; the seconds that it was not."""
        seconds, self._since = self.outage_seconds, None
        return seconds


def reconnecting(
    connect: Callable[[], Iterator[JsonObject]], watch: ConnectionState, until: float | None = None
) -> Iterator[JsonObject]:
    """What one stream after the other tells, for ever; `connect` opens one and tells at once that it stands.

    `until`: TimeoutError is raised then, by the monotonic clock. Raises what `watch` does.
    """
    pause = MIN_RETRY_DELAY
    while True:
        try:
            for told in connect():
                watch.connected, pause = True, MIN_RETRY_DELAY
                yield told
        except (ApiError, UnreachableError) as error:
            watch.lost(error)
        left = pause if until is None else min(pause, until - time.monotonic())
        if left <= 0:
            raise TimeoutError
        time.sleep(left)
        pause = min(MAX_RETRY_DELAY, 2 * pause)


def follow_events(state: Path | None, kind: str, last: str) -> Iterator[JsonObject]:
    """Events after the one with the id `last` (empty: from now on), for ever.

    Says once on stderr when the control plane is away, and once when it is back. Raises ApiError for a
    request that it refuses.
    """
    newest = last
    query = f"?{urlencode({'kind': kind})}" if kind else ""

    def connect() -> Iterator[JsonObject]:
        return open_stream(state, f"{PREFIX}/events{query}", newest)

    watch = ConnectionState(
        "the control plane is away: waiting for it, what is missed will be shown", connected=True
    )
    for event in reconnecting(connect, watch):
        if watch.restored():
            warn("the control plane is back")
        if event:
            newest = event["id"]
            yield event


def open_stream(
    state: Path | None, path: str, last: str = "", until: float | None = None
) -> Iterator[JsonObject]:
    """What the stream at `path` tells; the first is empty and says that it stands.

    `until`: TimeoutError is raised then, by the monotonic clock. Raises ApiError for a refusal,
    UnreachableError for a stream that breaks or ends, SilentError for one that says nothing.
    """
    endpoint = mesh_locator.locate_mesh(os.environ, state)
    parts = urlsplit(endpoint.url)
    scheme = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = scheme(parts.hostname or "", parts.port, timeout=_read_timeout(until))
    headers = {"Authorization": f"Bearer {endpoint.token}", "Accept": "text/event-stream"}
    if last:
        headers["Last-Event-ID"] = last
    stands = False
    try:
        connection.connect()
        socket = connection.sock
        connection.request("GET", f"{parts.path}{path}", headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            errors.parse_response(answer.status, answer.read())
            raise UnreachableError(endpoint.url, f"HTTP {answer.status}")
        stands = True
        yield {}
        while True:
            socket.settimeout(_read_timeout(until))
            line = answer.readline(LINE_LIMIT)
            if not line.endswith(b"\n"):
                raise UnreachableError(endpoint.url, "it ended the stream")
            name, _, value = line.decode("utf-8", "replace").rstrip("\n").partition(": ")
            if name == "data":
                yield json.loads(value)
    except TimeoutError:
        if stands and until is not None and time.monotonic() >= until:
            raise
        raise StreamSilentError(endpoint.url, "nothing came for a long time") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(endpoint.url, errors.os_error_text(error)) from None
    finally:
        connection.close()


def _read_timeout(until: float | None) -> float:
    """Seconds to wait for a byte."""
    return SILENCE_TIMEOUT if until is None else max(0.001, min(SILENCE_TIMEOUT, until - time.monotonic()))
