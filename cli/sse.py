"""Server-sent events of the admin API, with reconnection."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from meshwright.cli.errors import warn
from meshwright.cli.http import api_connection, api_endpoint, api_path
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.calls import PREFIX
from meshwright.control_plane.api.errors import ApiError, UnreachableError

SILENCE_TIMEOUT = 40.0
"""Seconds without a byte after which a stream is dead: the server sends a comment every 15 s."""

MIN_RETRY_DELAY, MAX_RETRY_DELAY = 0.5, 5.0
"""Seconds before a lost stream is reconnected. The delay doubles with each attempt."""

LINE_LIMIT = 1024 * 1024
"""Maximum bytes of a line, far above the size of an event."""

JsonObject = dict[str, Any]


class StreamSilentError(UnreachableError):
    """No bytes arrived within SILENCE_TIMEOUT."""


class ConnectionState:
    """Whether the control plane is connected. Prints one notice on stderr when the connection is lost."""

    def __init__(self, notice: str, *, connected: bool = False) -> None:
        """`notice` is printed when the connection is lost. `connected`: it was established before."""
        self._notice = notice
        self._lost_at: float | None = None
        self.connected = connected

    @property
    def outage_seconds(self) -> float:
        """Seconds since the connection was lost; 0 while it is up."""
        return 0.0 if self._lost_at is None else time.monotonic() - self._lost_at

    def lost(self, error: ApiError | UnreachableError) -> None:
        """Record a lost stream. Raises the error if a retry cannot help."""
        rejected = isinstance(error, ApiError) and error.status < 500
        # A control plane that has just started does not know its sidecars yet.
        starting = self.connected and isinstance(error, ApiError) and error.code == "not-found"
        if not self.connected or (rejected and not starting):
            raise error
        if self._lost_at is None:
            self._lost_at = time.monotonic() - (
                SILENCE_TIMEOUT if isinstance(error, StreamSilentError) else 0.0
            )
            busy = isinstance(error, ApiError) and error.code == "busy"
            warn(f"{error}; waiting for a free stream" if busy else self._notice)

    def restored(self) -> float:
        """Record that the stream is up again; returns the seconds that it was down."""
        seconds, self._lost_at = self.outage_seconds, None
        return seconds


def reconnecting(
    connect: Callable[[], Iterator[JsonObject]], connection: ConnectionState, until: float | None = None
) -> Iterator[JsonObject]:
    """The items of an endless series of streams. `connect` opens one and yields at once when it is open.

    `until` is a time of the monotonic clock: TimeoutError is raised then. Raises what `connection` raises.
    """
    delay = MIN_RETRY_DELAY
    while True:
        try:
            for item in connect():
                connection.connected, delay = True, MIN_RETRY_DELAY
                yield item
        except (ApiError, UnreachableError) as error:
            connection.lost(error)
        pause = delay if until is None else min(delay, until - time.monotonic())
        if pause <= 0:
            raise TimeoutError
        time.sleep(pause)
        delay = min(MAX_RETRY_DELAY, 2 * delay)


def follow_events(state: Path | None, kind: str, last_id: str) -> Iterator[JsonObject]:
    """Events after `last_id`, endlessly; with an empty `last_id`, those from now on.

    Prints one line on stderr when the control plane disconnects, and one when it is back. Raises ApiError
    for a rejected request.
    """
    newest = last_id
    query = f"?{urlencode({'kind': kind})}" if kind else ""

    def connect() -> Iterator[JsonObject]:
        return open_stream(state, f"{PREFIX}/events{query}", newest)

    notice = "control plane disconnected: reconnecting; events since then will follow"
    connection = ConnectionState(notice, connected=True)
    for event in reconnecting(connect, connection):
        if connection.restored():
            warn("control plane reconnected")
        if event:
            newest = event["id"]
            yield event


def open_stream(
    state: Path | None, path: str, last_id: str = "", until: float | None = None
) -> Iterator[JsonObject]:
    """The events of the stream at `path`, after an empty object that says that the stream is open.

    `until` is a time of the monotonic clock: TimeoutError is raised then. Raises ApiError for a rejected
    request, UnreachableError for a stream that breaks or ends, StreamSilentError for one without bytes.
    """
    endpoint = api_endpoint(state)
    connection = api_connection(endpoint, _read_timeout(until))
    headers = {"Authorization": f"Bearer {endpoint.token}", "Accept": "text/event-stream"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    is_open = False
    try:
        connection.connect()
        sock = connection.sock
        connection.request("GET", api_path(endpoint, path), headers=headers)
        # Closed explicitly: in a finalizer Python discards the KeyboardInterrupt of a Ctrl-C.
        with closing(connection.getresponse()) as response:
            if response.status != 200:
                errors.parse_response(response.status, response.read())
                raise UnreachableError(endpoint.url, f"HTTP {response.status}")
            is_open = True
            yield {}
            while True:
                sock.settimeout(_read_timeout(until))
                line = response.readline(LINE_LIMIT)
                if not line.endswith(b"\n"):
                    raise UnreachableError(endpoint.url, "the stream ended")
                name, _, value = line.decode("utf-8", "replace").rstrip("\n").partition(": ")
                if name == "data":
                    yield json.loads(value)
    except TimeoutError:
        if is_open and until is not None and time.monotonic() >= until:
            raise
        raise StreamSilentError(endpoint.url, f"no data for {SILENCE_TIMEOUT:g} s") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(endpoint.url, errors.os_error_text(error)) from None
    finally:
        connection.close()


def _read_timeout(until: float | None) -> float:
    """Seconds to wait for the next byte."""
    return SILENCE_TIMEOUT if until is None else max(0.001, min(SILENCE_TIMEOUT, until - time.monotonic()))
