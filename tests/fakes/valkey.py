"""A real Valkey for tests, started as the product starts it; can be stopped, restarted and frozen."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import redis

from meshwright.control_plane.store import embedded
from tests.fakes.ports import free_port

READY_WITHIN = 60.0


class Valkey:
    """A Valkey with its data in `state`/store, on a unix socket, or on TCP like an external Redis."""

    def __init__(self, state: Path, *, tcp: bool = False) -> None:
        self.embedded = embedded.prepare(state)
        self.password = self.embedded.password()
        self.url = self.embedded.url
        self.argv = list(self.embedded.argv)
        if tcp:
            port = free_port()
            self.argv += ["--port", str(port), "--bind", "127.0.0.1"]
            self.url = f"redis://:{self.password}@127.0.0.1:{port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def client(self) -> redis.Redis:
        """A plain client, to inspect or damage the stored data."""
        return redis.Redis.from_url(self.url, **self._credentials(), protocol=2, decode_responses=True)

    def start(self) -> None:
        """Start it and wait until it has loaded its data."""
        log = (self.embedded.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_WITHIN
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)

    def stop(self) -> None:
        """Kill it, as a power failure would; every acknowledged write must be on disk."""
        if self.process:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def freeze(self) -> None:
        """Suspend it: connections stay open, but it does not reply."""
        assert self.process
        self.process.send_signal(SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        assert self.process
        self.process.send_signal(SIGCONT)

    def _credentials(self) -> dict[str, str]:
        return {} if self.url.startswith("redis:") else {"password": self.password}


@contextmanager
def running_valkey(state: Path, *, tcp: bool = False) -> Iterator[Valkey]:
    """A Valkey that runs until the block ends; `state` is the mesh's state folder."""
    valkey = Valkey(state, tcp=tcp)
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.stop()
