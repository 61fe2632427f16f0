"""What an application says at its start about policies that its file does not have, or has otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshwright.cli.reconcile.policies import policy_notes
from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.policies.secret_source import redacted

FILE = Path("shop.yaml")


def policy(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def notes(stated: list[dict[str, Any]], in_force: list[dict[str, Any]]) -> list[str]:
    return list(policy_notes([SourcedDocument(item) for item in stated], in_force, FILE))


def test_nothing_is_said_of_an_application_whose_policies_are_in_force() -> None:
    stated = [policy("Retry", "a", attempts=2), policy("Timeout", "b")]
    assert notes(stated, stated) == []
    assert notes([], []) == []


def test_policies_of_an_earlier_application_are_named() -> None:
    in_force = [policy("Timeout", name) for name in "dcba"] + [policy("Retry", "own")]
    assert notes([policy("Retry", "own")], in_force) == [
        "4 policies are in force that shop.yaml does not have: Timeout/a, Timeout/b, Timeout/c and 1 more: "
        "see `mesh get`"
    ]
    assert notes([], in_force[:1]) == [
        "1 policy is in force that shop.yaml does not have: Timeout/d: see `mesh get`"
    ]


def test_policies_of_the_file_that_the_mesh_has_otherwise_are_named() -> None:
    in_force = [policy("Retry", "a", attempts=2)]
    assert notes([policy("Retry", "a", attempts=3), policy("Timeout", "b")], in_force) == [
        "shop.yaml has others than the mesh (Retry/a, Timeout/b): `mesh up --policies` applies them"
    ]


def test_a_secret_that_the_mesh_does_not_show_is_no_difference() -> None:
    stated = policy("BasicAuth", "a", users=[{"name": "u", "passwordHash": "{SHA}x"}])
    shown = dict(redacted(stated))
    assert notes([stated], [shown]) == []
