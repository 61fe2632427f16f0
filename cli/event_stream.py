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

from cli.failing import warn
from control_plane.api import discovery, failures
from control_plane.api.failures import ApiError, UnreachableError
from control_plane.api.operations import PREFIX

SILENCE = 40.0
"""Seconds without a byte after which a stream is dead: a comment comes every 15."""

SOON, SELDOM = 0.5, 5.0
"""Seconds until a lost stream is tried again: at first, and at most; each time twice as long."""

LINE_LIMIT = 1024 * 1024
"""Bytes of a line: far more than an event has."""

Told = dict[str, Any]


class SilentError(UnreachableError):
    """Nothing came for so long that nothing will."""


class Watch:
    """Whether the control plane is heard, and since when not. That it is away is said once on stderr."""

    def __init__(self, away: str, *, heard: bool = False) -> None:
        """`away`: what to say; `heard`: whether it was heard already, so that it is waited for."""
        self._away = away
        self._since: float | None = None
        self.heard = heard

    @property
    def blind(self) -> float:
        """Seconds since it is not heard; 0 while it is."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def lose(self, error: ApiError | UnreachableError) -> None:
        """Note that a stream is lost; raises the error where waiting does not help."""
        refused = isinstance(error, ApiError) and error.status < 500
        # A control plane that has just started does not know its sidecars yet.
        starting = self.heard and isinstance(error, ApiError) and error.code == "not-found"
        if not self.heard or (refused and not starting):
            raise error
        if self._since is None:
            self._since = time.monotonic() - (SILENCE if isinstance(error, SilentError) else 0.0)
            busy = isinstance(error, ApiError) and error.code == "busy"
            warn(f"{error}; waiting for room" if busy else self._away)

    def regain(self) -> float:
        """Note that it is heard; the seconds that it was not."""
        seconds, self._since = self.blind, None
        return seconds


def unbroken(
    connect: Callable[[], Iterator[Told]], watch: Watch, until: float | None = None
) -> Iterator[Told]:
    """What one stream after the other tells, for ever; `connect` opens one and tells at once that it stands.

    `until`: TimeoutError is raised then, by the monotonic clock. Raises what `watch` does.
    """
    pause = SOON
    while True:
        try:
            for told in connect():
                watch.heard, pause = True, SOON
                yield told
        except (ApiError, UnreachableError) as error:
            watch.lose(error)
        left = pause if until is None else min(pause, until - time.monotonic())
        if left <= 0:
            raise TimeoutError
        time.sleep(left)
        pause = min(SELDOM, 2 * pause)


def follow(state: Path | None, kind: str, last: str) -> Iterator[Told]:
    """Events after the one with the id `last` (empty: from now on), for ever.

    Says once on stderr when the control plane is away, and once when it is back. Raises ApiError for a
    request that it refuses.
    """
    newest = last
    query = f"?{urlencode({'kind': kind})}" if kind else ""

    def connect() -> Iterator[Told]:
        return read(state, f"{PREFIX}/events{query}", newest)

    watch = Watch("the control plane is away: waiting for it, what is missed will be shown", heard=True)
    for event in unbroken(connect, watch):
        if watch.regain():
            warn("the control plane is back")
        if event:
            newest = event["id"]
            yield event


def read(state: Path | None, path: str, last: str = "", until: float | None = None) -> Iterator[Told]:
    """What the stream at `path` tells; the first is empty and says that it stands.

    `until`: TimeoutError is raised then, by the monotonic clock. Raises ApiError for a refusal,
    UnreachableError for a stream that breaks or ends, SilentError for one that says nothing.
    """
    endpoint = discovery.find(os.environ, state)
    parts = urlsplit(endpoint.url)
    scheme = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = scheme(parts.hostname or "", parts.port, timeout=_patience(until))
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
            failures.decode(answer.status, answer.read())
            raise UnreachableError(endpoint.url, f"HTTP {answer.status}")
        stands = True
        yield {}
        while True:
            socket.settimeout(_patience(until))
            line = answer.readline(LINE_LIMIT)
            if not line.endswith(b"\n"):
                raise UnreachableError(endpoint.url, "it ended the stream")
            name, _, value = line.decode("utf-8", "replace").rstrip("\n").partition(": ")
            if name == "data":
                yield json.loads(value)
    except TimeoutError:
        if stands and until is not None and time.monotonic() >= until:
            raise
        raise SilentError(endpoint.url, "nothing came for a long time") from None
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(endpoint.url, failures.reason(error)) from None
    finally:
        connection.close()


def _patience(until: float | None) -> float:
    """Seconds to wait for a byte."""
    return SILENCE if until is None else max(0.001, min(SILENCE, until - time.monotonic()))
