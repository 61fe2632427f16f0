"""What a rollout makes of its route, and where its progress is kept."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.core.rollouts import Rollouts
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch
from meshwright.control_plane.policies.httproute.spec import HTTPRoute
from meshwright.control_plane.policies.rollout.progress import (
    RolloutProgress,
    at,
    progress_of,
    restored,
    with_stored_progress,
)
from meshwright.control_plane.policies.rollout.spec import Rollout
from tests.control_plane.core.worlds import documents

STEPS = "[{mirror: 50, pause: 1m}, {weight: 25, pause: 1m}]"


def rollout(
    progress: RolloutProgress, kind: str = "HTTPRoute", more: str = "", section: str = ""
) -> Rollouts:
    """A rollout of inventory v2 that stands at `progress`."""
    text = f"""
apiVersion: meshwright.io/v1
kind: Rollout
metadata: {{name: inventory}}
spec:
  route: {{kind: {kind}, name: inventory, sectionName: "{section}"}}
  stable: {{name: inventory}}
  canary: {{group: meshwright.io, kind: Subset, name: v2}}
  steps: {STEPS}
  {more}
"""
    (document,) = documents(text)
    policy = document.policy
    body = {
        "apiVersion": policy.api_version,
        "kind": "Rollout",
        "spec": policy.spec.model_dump(by_alias=True),
    }
    moved = Rollout.model_validate(at({**body, "metadata": {"name": "inventory"}}, progress))
    (document,) = documents(text)
    return Rollouts([type(document)(moved, 1)])


def http_route(*rules: str) -> HTTPRoute:
    text = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: inventory}}
spec: {{parentRefs: [{{kind: Service, name: inventory}}], rules: [{", ".join(rules)}]}}
"""
    (document,) = documents(text)
    assert isinstance(document.policy, HTTPRoute)
    return document.policy


def weights(rule: Any) -> dict[str, int]:
    return {ref.name: ref.weight for ref in rule.backend_refs}


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        (RolloutProgress(), (100, 0)),
        (RolloutProgress(2), (75, 25)),
        (RolloutProgress(2, "Paused"), (75, 25)),
        (RolloutProgress(2, "Aborted"), (100, 0)),
        (RolloutProgress(2, "Promoted"), (0, 100)),
    ],
)
def test_the_two_backends_share_what_they_had_and_others_keep_theirs(
    progress: RolloutProgress, share: tuple[int, int]
) -> None:
    route = http_route("{backendRefs: [{name: inventory, weight: 3}, {name: orders, weight: 1}]}")
    (rule,) = rollout(progress).applied(route).spec.rules
    total = 4 * 100
    assert weights(rule) == {"orders": 100, "inventory": 3 * share[0], "v2": 3 * share[1]}
    assert sum(weights(rule).values()) == total


def test_a_mirror_step_copies_requests() -> None:
    (rule,) = rollout(RolloutProgress(1)).applied(http_route("{backendRefs: [{name: inventory}]}")).spec.rules
    (mirror,) = rule.filters
    assert mirror.request_mirror is not None
    assert (mirror.request_mirror.backend_ref.name, mirror.request_mirror.share) == ("v2", 0.5)
    assert weights(rule) == {"inventory": 100, "v2": 0}


def test_testers_get_the_canary_until_the_end() -> None:
    testers = "testers: [{name: x-tester, value: 'yes'}]"
    route = http_route("{name: all, matches: [{path: {value: /a}}], backendRefs: [{name: inventory}]}")
    first, second = rollout(RolloutProgress(), more=testers).applied(route).spec.rules
    assert weights(first) == {"inventory": 0, "v2": 100}
    (match,) = first.matches
    assert isinstance(match, HTTPRouteMatch)
    assert (match.path.value, len(match.headers)) == ("/a", 1)
    assert (first.name, second.name) == ("all", "all")
    assert len(rollout(RolloutProgress(2, "Aborted"), more=testers).applied(route).spec.rules) == 1


def test_rules_that_it_is_not_about_stay_as_they_are() -> None:
    route = http_route(
        "{name: other, backendRefs: [{name: orders}]}",
        "{name: a, matches: [{path: {value: /a}}], backendRefs: [{name: inventory}]}",
        "{name: b, matches: [{path: {value: /b}}], backendRefs: [{name: inventory}]}",
    )
    other, a, b = rollout(RolloutProgress(2), section="b").applied(route).spec.rules
    assert (other, a) == route.spec.rules[:2]
    assert weights(b) == {"inventory": 75, "v2": 25}


def test_grpc_routes_have_rollouts_too() -> None:
    (document,) = documents("""
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: inventory}
spec: {parentRefs: [{kind: Service, name: inventory}], rules: [{backendRefs: [{name: inventory}]}]}
""")
    assert isinstance(document.policy, GRPCRoute)
    (rule,) = rollout(RolloutProgress(1), "GRPCRoute").applied(document.policy).spec.rules
    assert [item.type for item in rule.filters] == ["RequestMirror"]
    (rule,) = rollout(RolloutProgress(2), "GRPCRoute").applied(document.policy).spec.rules
    assert weights(rule) == {"inventory": 75, "v2": 25}


# --- progress -----------------------------------------------------------------------------------------

BODY: dict[str, Any] = {
    "apiVersion": "meshwright.io/v1",
    "kind": "Rollout",
    "metadata": {"name": "inventory", "annotations": {"team": "shop"}},
    "spec": {
        "route": {"name": "inventory"},
        "stable": {"name": "inventory"},
        "canary": {"group": "meshwright.io", "kind": "Subset", "name": "v2"},
        "steps": [{"weight": 10}],
    },
}
STANDING = RolloutProgress(1, "Paused", 1234.5, "paused by hand")
STORED = at(BODY, STANDING)
KEY = ("Rollout", "inventory")


def standing(document: Any) -> RolloutProgress:
    return progress_of(Rollout.model_validate(document))


def test_progress_is_written_and_read_beside_the_users_annotations() -> None:
    assert standing(STORED) == STANDING
    assert STORED["metadata"]["annotations"]["team"] == "shop"
    assert standing(BODY) == RolloutProgress()


@pytest.mark.parametrize("annotation", ["step", "phase", "since"])
def test_progress_that_makes_no_sense_is_none(annotation: str) -> None:
    annotations = {**STORED["metadata"]["annotations"], f"meshwright.io/rollout-{annotation}": "nonsense"}
    assert (
        standing({**STORED, "metadata": {"name": "inventory", "annotations": annotations}})
        == RolloutProgress()
    )


def test_a_file_that_is_applied_again_keeps_the_progress() -> None:
    changed = {**BODY, "spec": {**BODY["spec"], "steps": [{"weight": 20}]}}
    assert standing(with_stored_progress(changed, {KEY: STORED})) == STANDING
    forged = at(BODY, RolloutProgress(1, "Promoted"))
    assert standing(with_stored_progress(forged, {KEY: STORED})) == STANDING
    assert standing(with_stored_progress(forged, {})) == RolloutProgress()


@pytest.mark.parametrize("field", ["route", "stable", "canary"])
def test_another_route_or_version_is_another_rollout(field: str) -> None:
    changed = {**BODY, "spec": {**BODY["spec"], field: {"name": "another"}}}
    assert standing(with_stored_progress(changed, {KEY: STORED})) == RolloutProgress()


def test_defaults_that_are_written_out_make_no_other_rollout() -> None:
    route = {
        "group": "gateway.networking.k8s.io",
        "kind": "HTTPRoute",
        "name": "inventory",
        "sectionName": "",
    }
    changed = {
        **BODY,
        "spec": {**BODY["spec"], "route": route, "stable": {"kind": "Service", "name": "inventory"}},
    }
    assert standing(with_stored_progress(changed, {KEY: STORED})) == STANDING


@pytest.mark.parametrize("document", [{"kind": "Retry"}, {"kind": "Rollout", "metadata": 3}, {}])
def test_other_documents_pass_unchanged(document: dict[str, Any]) -> None:
    assert with_stored_progress(document, {KEY: STORED}) is document


def test_a_rollback_pauses_what_it_puts_back() -> None:
    old = at(BODY, RolloutProgress(1, "Progressing", 10.0, "step 1 of 1"))
    assert standing(restored(old, {KEY: STORED}, 99.0)) == RolloutProgress(
        1, "Paused", 99.0, "restored by a rollback"
    )
    assert restored(STORED, {KEY: STORED}, 99.0) is STORED
    ended = at(BODY, RolloutProgress(1, "Promoted", 10.0, "all"))
    assert restored(ended, {KEY: STORED}, 99.0) is ended
