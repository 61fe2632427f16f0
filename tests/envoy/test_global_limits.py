"""A global limit over three sidecars and two control planes, at many times the rate that it lets through."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.joining import joined
from tests.envoy.harness import running_mesh, service, until
from tests.envoy.test_planes import planes, second_control_plane
from tests.envoy.wrk import steady, through

pytestmark = pytest.mark.long

RATE, SECONDS, CONNECTIONS = 50, 30, 16

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
        begun = time.monotonic()
        with steady(through(first, "front-1", "back"), connections=CONNECTIONS) as (load,):
            time.sleep(SECONDS)
        lasted = time.monotonic() - begun
        answers = Counter(load.outcome.statuses)
        figures = f"{dict(answers)} in {lasted:.1f} s, {answers.total() / lasted / RATE:.0f} times the rate"
        assert answers.keys() <= {200, 429, 503}, figures
        assert not any(load.outcome.socket_errors.values()), load.outcome
        assert answers.total() >= 2 * RATE * lasted, figures
        # The bucket holds a second's requests, and was full.
        assert answers[200] <= RATE * (lasted + 1), figures
        # On a machine so busy that answers are late or connections stand still, what was granted is lost.
        if answers[503] < 0.04 * answers.total() and answers.total() >= 10 * RATE * lasted:
            assert answers[200] >= 0.95 * RATE * SECONDS, figures
