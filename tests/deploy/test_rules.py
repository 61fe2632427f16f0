"""Recording rules and alerts: right, each tested both ways by promtool, each with a line on what to do."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from ruamel.yaml import YAML

from meshwright.control_plane.telemetry.requests.failure import GRPC_FAILURES
from meshwright.dashboards.boards.service import FAILURES
from tests.envoy.harness import ROOT

RULES = ROOT / "dashboards/rules"


def loaded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(RULES / name)
    return document


def alerts() -> list[dict[str, Any]]:
    return [rule for group in loaded("alerts.yml")["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/promtool", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=170, check=False, cwd=RULES)


def test_the_rules_are_right() -> None:
    completed = promtool("check", "rules", "recording.yml", "alerts.yml")
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    completed = promtool("test", "rules", "tests/alerts.yml")
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_edges_have_the_figures_of_the_topology() -> None:
    completed = promtool("test", "rules", "tests/edges.yml")
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_a_grpc_failure_is_the_same_everywhere() -> None:
    named = re.findall(r'mesh_grpc_status=~"([\d|]+)"', (RULES / "recording.yml").read_text())
    assert [set(item.split("|")) for item in named] == [set(GRPC_FAILURES)]
    assert set(map(str, FAILURES)) == set(GRPC_FAILURES)


def test_every_alert_has_a_case_of_both_kinds() -> None:
    cases: dict[str, set[bool]] = {}
    for test in loaded("tests/alerts.yml")["tests"]:
        for item in test["alert_rule_test"]:
            cases.setdefault(item["alertname"], set()).add(bool(item["exp_alerts"]))
    assert cases == {rule["alert"]: {True, False} for rule in alerts()}


def test_every_alert_says_what_to_do() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
