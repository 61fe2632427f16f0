"""A dealer who sets prices at the ingress of a running exchange and reads them back, all the time."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from meshwright.services.users.domain import ACCESS_SECONDS
from tests.envoy.harness import ROOT, until
from tests.services.ingress import authorization

DEALER = "dealer@example.com"
PAIRS = ("XAU-USD", "XAG-USD", "AAA-EUR", "BBB-EUR", "CCC-EUR")


def command(data: Path, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a service on its database in a folder."""
    return subprocess.run(
        [sys.executable, "-m", f"meshwright.services.{service}", *arguments],
        capture_output=True, text=True, timeout=300, check=False, cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(data)},
    )  # fmt: skip


def migrate(data: Path, phase: int) -> None:
    """Move the quotes to a phase, and compare both sides where both have them."""
    moved = command(data, "legacy", "migrate", "--phase", str(phase), "--timeout", "240")
    assert moved.returncode == 0, moved.stderr
    if 2 <= phase <= 4:
        compared = command(data, "legacy", "compare", "-o", "json", "--timeout", "240")
        assert compared.returncode == 0, compared.stdout + compared.stderr
        assert json.loads(compared.stdout)["compared"] >= len(PAIRS)


def service_of(response: requests.Response) -> str:
    """The service whose instance has answered."""
    return response.headers["x-served-by"].rpartition("-")[0]


@dataclass
class Dealings:
    """What was set and acknowledged last for each pair, who answered, and what went wrong."""

    url: str
    token: dict[str, str] = field(default_factory=dict)
    renew_at: float = 0
    writers: Counter[str] = field(default_factory=Counter)
    readers: Counter[str] = field(default_factory=Counter)
    quotes: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    count: int = 0

    def more(self, count: int = 20) -> None:
        """Wait for so many more dealings, and look at all."""
        reached = self.count + count
        self.writers.clear()
        self.readers.clear()
        until(lambda: self.count >= reached or self.failures, f"{count} more dealings", 120)
        assert self.failures == []

    def _deal(self, session: requests.Session, number: int) -> None:
        if time.monotonic() >= self.renew_at:
            self.token = authorization(self.url, DEALER)
            self.renew_at = time.monotonic() + ACCESS_SECONDS / 2
        pair = PAIRS[number % len(PAIRS)]
        path = f"{self.url}/api/quotes/{pair}"
        # Many clients, each within its limit.
        headers = {**self.token, "x-forwarded-for": f"198.51.100.{number % 250}"}
        response = session.put(path, json={"price": number + 1}, headers=headers, timeout=60)
        assert response.status_code == 200, (number, response.status_code, response.text)
        quote, before = response.json(), self.quotes.get(pair)
        assert before is None or quote["version"] > before["version"], (quote, before)
        self.quotes[pair] = quote
        self.writers[service_of(response)] += 1
        response = session.get(path, headers=headers, timeout=60)
        assert response.status_code == 200, (number, response.status_code, response.text)
        assert response.json()["price"] == quote["price"], (response.json(), quote)
        self.readers[service_of(response)] += 1
        self.count += 1

    def run(self, stop: threading.Event) -> None:
        """Deal until `stop` is set, or until something is wrong."""
        with requests.Session() as session:
            session.trust_env = False
            for number in itertools.count():
                if stop.wait(0.02):
                    return
                try:
                    self._deal(session, number)
                except (AssertionError, requests.RequestException) as error:
                    self.failures.append(str(error))
                    return


@contextmanager
def dealing(url: str, data: Path) -> Iterator[Dealings]:
    """A dealer at work. The databases of the exchange are in the folder `data`."""
    authorization(url, DEALER)
    promoted = command(data, "users", "admin", DEALER)
    assert promoted.returncode == 0, promoted.stderr
    dealings = Dealings(url)
    stop = threading.Event()
    thread = threading.Thread(target=dealings.run, args=(stop,))
    thread.start()
    try:
        yield dealings
    finally:
        stop.set()
        thread.join()
    assert dealings.failures == []
