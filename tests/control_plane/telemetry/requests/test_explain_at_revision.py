"""Explanations with what is known of the mesh now: the instances that could not be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from meshwright.control_plane.api.models.requests import Request
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.traces import Trace
from meshwright.control_plane.core.revision import PolicyRevision
from meshwright.control_plane.core.world import Instance, Service, World
from meshwright.control_plane.telemetry.requests.explain_at_revision import explain_at_revision
from tests.control_plane.telemetry.log_exports import outbound_request


@dataclass(frozen=True)
class Evidence:
    """A failed request."""

    records: Sequence[Request]
    id: str = "c8fe"
    trace: Trace | None = None
    revision: PolicyRevision | None = None
    changes: Sequence[RevisionInfo] = field(default=())
    now: float = 0.0


WORLD = World(
    1,
    {
        "orders": Service(
            "orders",
            (),
            (
                Instance("orders-1", "127.0.0.1", 1, health="unhealthy", reason="app: killed by SIGKILL"),
                Instance("orders-2", "127.0.0.1", 2),
            ),
        )
    },
)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("UH", ("orders-1 is unhealthy now: app: killed by SIGKILL",)),
        ("UF", ("orders-1 is unhealthy now: app: killed by SIGKILL",)),
        ("UO", ()),
    ],
)
def test_unreachable_instances_are_named_with_their_reasons(flags: str, expected: tuple[str, ...]) -> None:
    record = outbound_request(status=503, flags=flags, upstream_host="-", attempts=0, policies="-")
    explanation = explain_at_revision(Evidence((record,)), WORLD)
    assert explanation is not None
    assert explanation.causes[0].instances == expected
