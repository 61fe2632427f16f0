"""What policies refuse, in words and figures."""

from __future__ import annotations

from typing import Any

from meshwright.control_plane.api.models.policies import DocumentList
from meshwright.control_plane.api.models.refusals import RefusalCount
from meshwright.tui.features.policies.view_model import policy_row, policy_view_models
from meshwright.tui.features.services.detail_rows import refusal_row
from meshwright.tui.refusal_text import refusal_labels, refusals_at, refusals_by, refused_per_second

NOON = 43_200.0


def count(**changes: Any) -> RefusalCount:
    fields: dict[str, Any] = {
        "service": "back",
        "caller": "front",
        "callee": "back",
        "policies": ("RateLimit/back",),
        "outcome": "limited",
        "per_s": 2.5,
        "total": 1203,
        "since": NOON,
        "last": NOON + 60,
    }
    return RefusalCount(**{**fields, **changes})


def cells(refusal: RefusalCount, service: str) -> list[str]:
    return [cell.text for cell in refusal_row(refusal, service).cells]


def test_row_of_a_refusal_says_who_why_and_how_often() -> None:
    assert cells(count(), "back") == [
        *("■", "limited", "RateLimit/back", "← front", "2.50", "1203", "12:01:00")
    ]
    at_gateway = count(service="ingress", caller="outside", total=250_000)
    assert cells(at_gateway, "ingress")[3:6] == ["→ back", "2.50", "250k"]
    assert cells(at_gateway, "back")[3] == "← outside"
    handshake = count(policies=(), outcome="handshake", caller="")
    assert cells(handshake, "back")[1:4] == ["no mTLS", "mutual TLS", "← unknown"]


def test_refusals_of_a_service_are_its_own_and_those_on_the_way_to_it() -> None:
    at_sidecar, at_gateway, other = count(), count(service="ingress"), count(service="web", callee="web")
    assert refusals_at([at_sidecar, at_gateway, other], "back") == [at_sidecar, at_gateway]
    assert refused_per_second([at_sidecar, at_gateway, other]) == {"back": 5.0, "ingress": 2.5, "web": 2.5}


def test_policy_has_a_line_for_each_outcome_with_its_most_refused_callers() -> None:
    refusals = [
        count(),
        *(count(caller=caller, per_s=0.0, total=total) for caller, total in (("a", 1), ("b", 2), ("c", 3))),
        count(outcome="rejected", caller="", per_s=0.0, total=7, since=NOON - 3600),
        count(policies=("RateLimit/other",)),
    ]
    labels = [label.text for label in refusal_labels(refusals_by(refusals, "RateLimit/back"))]
    assert labels == [
        "limited 2.50/s, 1209 since 12:00:00: front → back 1203, c → back 3, b → back 2, 1 more",
        "rejected 0/s, 7 since 11:00:00: unknown → back 7",
    ]


def test_list_of_policies_shows_what_each_refuses() -> None:
    documents = [
        {"kind": "RateLimit", "metadata": {"name": name}, "spec": {"targetRefs": [{"kind": "Mesh"}]}}
        for name in ("back", "other")
    ]
    refusing, quiet = policy_view_models(
        DocumentList(revision=1, documents=tuple(documents)), None, [count(), count(caller="web", per_s=0.5)]
    )
    assert [policy_row(policy).cells[4].text for policy in (refusing, quiet)] == ["3.00", ""]
    assert refusing.conditions[-1].text.startswith("limited 3.00/s, 2406 since")
