"""Recording rules and alerts: valid, tested by promtool to fire and not to fire, and with a runbook."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.telemetry.requests.failure import GRPC_FAILURES
from meshwright.dashboards.boards.service import FAILURES
from meshwright.sidecar.bootstrap.telemetry import DURATION_BOUNDS, WAIT_BOUNDS
from tests.envoy.harness import ROOT

RULES = ROOT / "dashboards/rules"

PROMTOOL_LIMIT = 600.0
"""Seconds. Hours of evaluations take 15 s of CPU, which a busy machine spreads over minutes."""

pytestmark = pytest.mark.timeout(PROMTOOL_LIMIT + 60)


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(RULES / name)
    return document


def alerts() -> list[dict[str, Any]]:
    return [rule for group in load("alerts.yml")["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/promtool", *arguments]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=PROMTOOL_LIMIT, check=False, cwd=RULES
    )


def test_rules_are_valid() -> None:
    completed = promtool("check", "rules", "recording.yml", "alerts.yml")
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_alerts_pass_their_promtool_tests() -> None:
    completed = promtool("test", "rules", "tests/alerts.yml")
    assert completed.returncode == 0, completed.stdout + completed.stderr


@pytest.mark.parametrize("name", ["edges", "routes"])
def test_recording_rules_pass_their_promtool_tests(name: str) -> None:
    completed = promtool("test", "rules", f"tests/{name}.yml")
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_grpc_failure_statuses_agree_in_rules_dashboards_and_topology() -> None:
    patterns = re.findall(r'mesh_grpc_status=~"([\d|]+)"', (RULES / "recording.yml").read_text())
    assert patterns
    assert all(set(pattern.split("|")) == set(GRPC_FAILURES) for pattern in patterns)
    assert set(map(str, FAILURES)) == set(GRPC_FAILURES)


def test_every_alert_is_tested_to_fire_and_not_to_fire() -> None:
    cases: dict[str, set[bool]] = {}
    for test in load("tests/alerts.yml")["tests"]:
        for case in test["alert_rule_test"]:
            cases.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert cases == {rule["alert"]: {True, False} for rule in alerts()}


def test_every_alert_has_a_runbook_and_a_severity() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_latency_adds_up_buckets_that_both_histograms_have() -> None:
    (bounds,) = re.findall(r'le!~"\((.*?)\)\(\[\.\]0\)\?\|', (RULES / "recording.yml").read_text())
    rule = {float(bound.replace("[.]", ".")) for bound in bounds.split("|")}
    assert rule == set(DURATION_BOUNDS)
    assert rule <= set(WAIT_BOUNDS)
