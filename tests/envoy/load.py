"""Load by wrk, and what Envoy and the apps counted meanwhile.

```
with steady(through(mesh, "front-1", "back"), connections=8) as load:
    mesh.apply(CHANGE)
load.outcome.failed                      # non-2xx answers and socket errors, by kind
send(target, requests=5000).statuses     # exactly so many, then it stops
```
wrk talks to a sidecar as an app does, but in origin form: the proxy routes by the Host header.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.envoy.harness import Mesh, until

LONGEST = 600
"""Seconds after which a load ends by itself; those who start one stop it long before."""

SCRIPT = Path(__file__).with_name("load.lua")
REACHED = "reached"
"""What the script says when it has seen enough: wrk itself would wait for the end of its time."""

_SERIES = re.compile(r"(?P<name>\w+)\{(?P<labels>.*)\} (?P<value>[0-9.e+]+)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a load goes: a URL of a proxy, and the headers to send."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What wrk saw. `statuses` counts answers by status, `socket_errors` by kind."""

    statuses: Mapping[int, int]
    socket_errors: Mapping[str, int]

    @property
    def requests(self) -> int:
        """Answers of any status."""
        return sum(self.statuses.values())

    @property
    def succeeded(self) -> float:
        """The share of answers with status 200."""
        return self.statuses.get(200, 0) / self.requests

    @property
    def failed(self) -> dict[str, int]:
        """All that is not an answer of 2xx, by its name; empty when nothing failed."""
        bad = {str(code): count for code, count in self.statuses.items() if not 200 <= code < 300}
        return bad | {kind: count for kind, count in self.socket_errors.items() if count}


class Load:
    """A running wrk; `outcome` is there once it has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._outcome: Outcome | None = None

    @property
    def outcome(self) -> Outcome:
        """What it saw; waits for its end."""
        if self._outcome is None:
            text, _ = self.process.communicate(timeout=LONGEST + 10)
            line = next((splitline for splitline in text.splitlines() if splitline.startswith("{")), "")
            assert line, f"wrk ended with {self.process.returncode}:\n{text}"
            document = json.loads(line)
            statuses = {int(code): count for code, count in document["statuses"].items()}
            self._outcome = Outcome(statuses, document["errors"])
        return self._outcome

    def stop(self) -> None:
        """End it as Ctrl-C does, so that it reports."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)


def through(mesh: Mesh, caller: str, service: str, path: str = "/echo", **headers: str) -> Target:
    """Calls of `service` by the outbound proxy of `caller`'s sidecar."""
    url = f"http://127.0.0.1:{mesh.ports(caller)['outbound']}{path}"
    return Target(url, {"Host": service, **{name.replace("_", "-"): text for name, text in headers.items()}})


def outside(mesh: Mesh, path: str = "/echo") -> Target:
    """Requests through the ingress."""
    return Target(f"http://127.0.0.1:{mesh.ingress_port}{path}")


def start(target: Target, connections: int, count: int = 0) -> Load:
    """Start wrk; it sends until it is stopped, or until it has `count` answers."""
    headers = [part for name, value in target.headers.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{LONGEST}s", "--timeout", "20s"]
    command += ["-s", str(SCRIPT), *headers, target.url, "--", target.method, str(count)]
    return Load(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))


@contextmanager
def steady(*targets: Target, connections: int = 8) -> Iterator[Sequence[Load]]:
    """A load on each target for as long as the block runs; wrk is gone afterwards."""
    loads = [start(target, connections) for target in targets]
    try:
        yield loads
    finally:
        for load in loads:
            load.stop()
        try:
            for load in loads:
                load.process.wait(30)
        except subprocess.TimeoutExpired:
            for load in loads:
                load.process.kill()
            raise


def send(target: Target, count: int, connections: int = 16) -> Outcome:
    """`count` requests as fast as they are answered."""
    load = start(target, connections, count)
    assert load.process.stdout
    try:
        for line in iter(load.process.stdout.readline, ""):
            if line.strip() == REACHED:
                break
        load.stop()
        return load.outcome
    finally:
        load.process.kill()


# --- what was counted -----------------------------------------------------------------------------------


def tries(mesh: Mesh, *instances: str) -> int:
    """Requests that the apps of `instances` counted since they were last reset."""
    return sum(sum(mesh.counts(name).values()) for name in instances)


def shares(mesh: Mesh, instances: Sequence[str], least: int = 5000) -> dict[str, float]:
    """Each instance's share of the next `least` requests, in percent, counted by the apps themselves."""
    mesh.reset(*instances)
    until(lambda: tries(mesh, *instances) >= least, f"{least} requests at {instances}", within=90, every=0.2)
    counted = {name: tries(mesh, name) for name in instances}
    return {name: 100 * count / sum(counted.values()) for name, count in counted.items()}


def stats(mesh: Mesh, instance: str, name: str, **labels: str) -> int:
    """The sum of one of Envoy's statistics over the series that carry `labels`.

    `name` as Prometheus sees it without the prefix: `cluster_upstream_rq_retry`.
    """
    url = f"http://127.0.0.1:{mesh.ports(instance)['ready']}/stats/prometheus"
    value = 0.0
    for line in requests.get(url, timeout=10).text.splitlines():
        match = _SERIES.fullmatch(line)
        if match and match["name"] == f"envoy_{name}":
            matches = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
            value += float(match["value"]) if labels.items() <= matches.items() else 0
    return int(value)


def answers(mesh: Mesh, instance: str, prefix: str, kind: str) -> int:
    """Answers of class `kind` ("2", "5") that a proxy gave its clients at one of its listeners.

    `prefix` is outbound, inbound or ingress.
    """
    return stats(
        mesh,
        instance,
        "http_downstream_rq_xx",
        envoy_response_code_class=kind,
        envoy_http_conn_manager_prefix=prefix,
    )
