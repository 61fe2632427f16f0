"""Load by wrk with its outcome, and the counts of Envoy and of the apps.

```
with steady(through(mesh, "front-1", "back"), connections=8) as load:
    mesh.apply(CHANGE)
load.outcome.failed                 # non-2xx responses and socket errors, by kind
send(target, 5000).statuses         # exactly 5000 requests
```
Unlike an app, wrk sends requests in origin form: the sidecar routes them by the Host header.
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

MAX_SECONDS = 600
"""Seconds after which a load ends by itself. Tests stop it earlier."""

SCRIPT = Path(__file__).with_name("wrk.lua")
REACHED = "reached"
"""Printed by the script at the requested number of responses: wrk itself would run on."""

_SERIES = re.compile(r"(?P<name>\w+)\{(?P<labels>.*)\} (?P<value>[0-9.e+]+)")


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a load: a URL of a proxy, and the headers to send."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a load. `statuses` counts responses by status, `socket_errors` errors by kind."""

    statuses: Mapping[int, int]
    socket_errors: Mapping[str, int]

    @property
    def requests(self) -> int:
        """The number of responses of any status."""
        return sum(self.statuses.values())

    @property
    def succeeded(self) -> float:
        """The share of responses with status 200."""
        return self.statuses.get(200, 0) / self.requests

    @property
    def failed(self) -> dict[str, int]:
        """Non-2xx responses by status, and socket errors by kind; empty if nothing failed."""
        errors = {str(code): count for code, count in self.statuses.items() if not 200 <= code < 300}
        return errors | {kind: count for kind, count in self.socket_errors.items() if count}


class Load:
    """A running wrk."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._outcome: Outcome | None = None

    @property
    def outcome(self) -> Outcome:
        """Its outcome, once it has ended."""
        if self._outcome is None:
            text, _ = self.process.communicate(timeout=MAX_SECONDS + 10)
            line = next((line for line in text.splitlines() if line.startswith("{")), "")
            assert line, f"wrk ended with {self.process.returncode}:\n{text}"
            document = json.loads(line)
            statuses = {int(code): count for code, count in document["statuses"].items()}
            self._outcome = Outcome(statuses, document["errors"])
        return self._outcome

    def stop(self) -> None:
        """Stop it with SIGINT, so that it reports."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)


def through(mesh: Mesh, caller: str, service: str, path: str = "/echo", **headers: str) -> Target:
    """Calls to `service` through the outbound proxy of `caller`'s sidecar."""
    url = f"http://127.0.0.1:{mesh.ports(caller)['outbound']}{path}"
    return Target(
        url, {"Host": service, **{name.replace("_", "-"): value for name, value in headers.items()}}
    )


def outside(mesh: Mesh, path: str = "/echo") -> Target:
    """Requests through the ingress."""
    return Target(f"http://127.0.0.1:{mesh.ingress_port}{path}")


def start(target: Target, connections: int, count: int = 0) -> Load:
    """Start wrk. It sends until it is stopped, or until it has `count` responses."""
    headers = [argument for name, value in target.headers.items() for argument in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{MAX_SECONDS}s", "--timeout", "20s"]
    command += ["-s", str(SCRIPT), *headers, target.url, "--", target.method, str(count)]
    return Load(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))


@contextmanager
def steady(*targets: Target, connections: int = 8) -> Iterator[Sequence[Load]]:
    """A load on each target for the duration of the block."""
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
    """Send `count` requests as fast as possible."""
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


# --- counts -----------------------------------------------------------------------------------


def app_requests(mesh: Mesh, *instances: str) -> int:
    """Requests that the apps of `instances` have counted since their last reset."""
    return sum(sum(mesh.counts(name).values()) for name in instances)


def shares(mesh: Mesh, instances: Sequence[str], sample: int = 5000) -> dict[str, float]:
    """The share of each instance in the next `sample` or more requests, in percent, counted by the apps."""
    mesh.reset(*instances)
    until(
        lambda: app_requests(mesh, *instances) >= sample,
        f"{sample} requests at {instances}",
        within=90,
        every=0.2,
    )
    counts = {name: app_requests(mesh, name) for name in instances}
    return {name: 100 * count / sum(counts.values()) for name, count in counts.items()}


def stats(mesh: Mesh, instance: str, name: str, **labels: str) -> int:
    """The sum of an Envoy statistic over the series with these labels.

    `name` is the Prometheus name without the prefix `envoy_`: `cluster_upstream_rq_retry`.
    """
    url = f"http://127.0.0.1:{mesh.ports(instance)['ready']}/stats/prometheus"
    total = 0.0
    for line in requests.get(url, timeout=60).text.splitlines():
        match = _SERIES.fullmatch(line)
        if match and match["name"] == f"envoy_{name}":
            series = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
            total += float(match["value"]) if labels.items() <= series.items() else 0
    return int(total)


def responses(mesh: Mesh, instance: str, prefix: str, status_class: str) -> int:
    """Responses of a class ("2", "5") to a proxy's clients at the listener outbound, inbound or ingress."""
    return stats(
        mesh,
        instance,
        "http_downstream_rq_xx",
        envoy_response_code_class=status_class,
        envoy_http_conn_manager_prefix=prefix,
    )
