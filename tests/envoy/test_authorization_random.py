"""A real Envoy decides as the evaluator does: random rules and calls, over HTTP, gRPC and TCP."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwright.control_plane.policies.authorization.verdict import Call, decide
from tests.envoy.authorization_cases import Case, cases
from tests.envoy.authorization_lab import running

DENIED = "rbac_access_denied_matched_policy["
NO_ALLOW_RULE = "no-allow-rule"


def compare(folder: Path, seed: int, count: int) -> None:
    """Every call of `count` cases over HTTP and gRPC and as many over TCP: Envoy and the evaluator agree."""
    http_cases, tcp_cases = list(cases(seed, count)), list(cases(seed + 1, count, tcp=True))
    reasons: dict[str, int] = {}
    with running(folder, http_cases, tcp_cases) as lab:
        for index, case in enumerate(http_cases):
            for call in case.calls:
                decision = decide(case.policies, call)
                allowed, body, audit = lab.request(index, call)
                context = (seed, case, call, decision, body, audit)
                assert allowed == decision.allowed, context
                if not allowed:
                    refused = body.removeprefix(DENIED).removesuffix("]")
                    assert agrees(refused, decision.rule or decision.reason, case, call), context
                else:
                    deny, allow = audit
                    expected = [*decision.audited, ""][0].replace(NO_ALLOW_RULE, "")
                    assert agrees(deny, expected, case, call), context
                    assert allow == (NO_ALLOW_RULE in decision.audited), context
                reasons[decision.reason] = reasons.get(decision.reason, 0) + 1
        for index, case in enumerate(tcp_cases):
            for call in case.calls:
                assert lab.connects(index, call) == decide(case.policies, call).allowed, (seed, case, call)
    assert len(reasons) == 6, reasons
    assert min(reasons.values()) > count / 50, reasons


def agrees(envoy: str, evaluator: str, case: Case, call: Call) -> bool:
    """Whether both name the same rule. Of several that match Envoy names any one."""
    if envoy == evaluator.replace(NO_ALLOW_RULE, "none") or not envoy.startswith("Authorization/"):
        return envoy == evaluator.replace(NO_ALLOW_RULE, "none")
    ref, _, name = envoy.rpartition("/")
    spec = dict(case.policies)[ref]
    rule = next(rule for rule, rule_name in spec.named_rules() if rule_name == name).model_copy(
        update={"name": name}
    )
    decision = decide([(ref, spec.model_copy(update={"rules": (rule,), "default": None}))], call)
    return bool(evaluator) and envoy in (decision.rule, *decision.audited)


def test_envoy_decides_as_the_evaluator(tmp_path: Path) -> None:
    compare(tmp_path, 1, 500)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 110))
def test_envoy_decides_as_the_evaluator_at_length(tmp_path: Path, seed: int) -> None:
    compare(tmp_path, seed, 500)
