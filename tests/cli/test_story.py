"""The script of the demo's tour: policies that the mesh takes, and one that it refuses."""

from __future__ import annotations

import json

import pytest

from meshwright.cli.application import read_application
from meshwright.cli.story.options import story_pace
from meshwright.cli.story.scenes import PREFIX, SCENES, documents, duration, seen
from meshwright.cli.up import demo_application_file
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.loader import load
from meshwright.control_plane.policies.registry import kinds

BEATS = [beat for scene in SCENES for beat in scene.beats]
EDGE = {"rps": 2.5, "success": 0.4, "p95_ms": 812.3, "breaker": "open"}


def test_the_tour_has_its_five_scenes_in_about_five_minutes() -> None:
    assert len(SCENES) == 5
    assert 240 <= duration(1) <= 330
    assert duration(0.1) == pytest.approx(duration(1) / 10)
    assert [beat.action for beat in BEATS].count("rollback") == 1
    assert [beat.action for beat in BEATS].count("refused") == 1


def test_the_mesh_takes_every_policy_but_the_one_that_it_is_to_refuse() -> None:
    for beat in BEATS:
        for document in beat.documents:
            problems = load(json.dumps(document).encode(), "story", kinds()).problems
            assert bool(problems) == (beat.action == "refused"), (document, problems)
            assert document["metadata"]["name"].startswith(PREFIX)


def test_scenes_are_about_services_of_the_demo() -> None:
    services = {entry.name for entry in read_application(demo_application_file()).spec.services}
    for document in documents():
        targets = document["spec"].get("targetRefs", document["spec"].get("parentRefs"))
        assert {target["name"] for target in targets} <= services
    assert {name for beat in BEATS if beat.edge for name in beat.edge} <= services | {"ingress"}


@pytest.mark.parametrize(
    ("edge", "text"),
    [
        (EDGE, "2.5 requests/s, 40 % succeed, p95 812 ms, breaker open"),
        ({**EDGE, "breaker": "closed"}, "2.5 requests/s, 40 % succeed, p95 812 ms"),
        (
            {
                **EDGE,
                "breaker": "none",
                "versions": [{"version": "v1", "rps": 3}, {"version": "v2", "rps": 1}],
            },
            "2.5 requests/s, 40 % succeed, p95 812 ms, 75 % to v1, 25 % to v2",
        ),
        ({**EDGE, "rps": 0.0}, "no requests in the last 10 s"),
        (None, "no requests in the last 10 s"),
    ],
)
def test_what_was_measured_is_one_line(edge: dict[str, object] | None, text: str) -> None:
    assert seen(edge) == text


def test_options_of_the_tour() -> None:
    assert story_pace(False, None, seconds=None, fault="") is None
    assert story_pace(True, None, seconds=None, fault="") == 1.0
    assert story_pace(True, 0.5, seconds=None, fault="") == 0.5
    with pytest.raises(InputError, match="--pace has no effect"):
        story_pace(False, 2.0, seconds=None, fault="")
    with pytest.raises(InputError, match="--for has no effect"):
        story_pace(True, None, seconds=9.0, fault="")
    with pytest.raises(InputError, match="--fault has no effect"):
        story_pace(True, None, seconds=None, fault="orders:slow")
