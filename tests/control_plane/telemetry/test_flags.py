"""The explanations of Envoy's response flags: kinds that exist, and the same words in the documentation."""

from __future__ import annotations

from pathlib import Path

from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.telemetry.requests.response_flags import FLAGS, describe

PAGE = Path(__file__).parents[3] / "docs" / "observability.md"


def test_every_kind_that_causes_a_flag_exists() -> None:
    assert {kind for one in FLAGS.values() for kind in one.kinds} <= set(kinds())


def test_the_documentation_explains_every_flag() -> None:
    page = PAGE.read_text()
    for one in FLAGS.values():
        assert f"| {one.flag} | {one.meaning} | {', '.join(one.kinds) or '-'} |" in page


def test_flags_are_read_from_an_attribute() -> None:
    assert describe("-") == describe("") == ()
    assert [one.flag for one in describe("UF,URX")] == ["UF", "URX"]
    assert describe("ZZ")[0].meaning == "an unknown response flag"
