"""A global limit over three sidecars and two control planes, at many times the rate that it lets through."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import requests

from tests.cli.joining import joined
from tests.envoy.harness import running_mesh, service, until
from tests.envoy.steady_load import load
from tests.envoy.test_planes import planes, second_control_plane

pytestmark = pytest.mark.long

RATE, SECONDS = 50, 20

LIMIT = f"""
apiVersion: meshwright.io/v1
kind: RateLimit
metadata: {{name: back}}
spec:
  targetRefs: [{{kind: Service, name: back}}]
  scope: global
  onFailure: deny
  limits: [{{requests: {RATE}, per: 1s}}]
"""


def test_sidecars_of_two_control_planes_share_a_limit(tmp_path: Path) -> None:
    app = (sys.executable, "-m", "tests.fakes.app")
    with (
        running_mesh(tmp_path, [service("front"), service("back", replicas=2)]) as first,
        second_control_plane(first, tmp_path / "second") as second,
        joined(second, "back-9", "back", "--port", "0", run=app),
    ):
        until(
            lambda: {plane["state"] for plane in planes(first)} == {"this", "reachable"},
            "they reach each other",
        )
        first.apply(LIMIT)

        def instances() -> set[str]:
            answers = (first.get("front-1", "http://back/echo") for _ in range(12))
            return {answer.headers["x-served-by"] for answer in answers if answer.ok}

        until(lambda: len(instances()) == 3, "all instances are called")
        proxy = f"http://127.0.0.1:{first.ports('front-1')['outbound']}/echo"
        begun = time.monotonic()
        with load(tmp_path, proxy, "Host: back", connections=32) as result:
            loaded = time.monotonic()
            while time.monotonic() < loaded + SECONDS:
                requests.get(f"{first.app('front-1')}/count", timeout=60)
            at_least = time.monotonic() - loaded
        at_most = time.monotonic() - begun
        passed = result.requests - result.failed
        assert result.failed > passed, result.report
        # The bucket holds a second's requests, so no pause of a second changes the sum.
        assert 0.95 * RATE * at_least <= passed <= RATE * (at_most + 1), (passed, at_least, at_most)
