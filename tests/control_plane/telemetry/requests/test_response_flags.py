"""Response flags: their kinds exist, and the documentation has the same text."""

from __future__ import annotations

from pathlib import Path

from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.telemetry.requests.response_flags import FLAGS, describe

PAGE = Path(__file__).parents[4] / "docs" / "observability.md"


def test_every_responsible_kind_exists() -> None:
    assert {kind for response_flag in FLAGS.values() for kind in response_flag.kinds} <= set(kinds())


def test_the_documentation_explains_every_flag() -> None:
    page = PAGE.read_text()
    for response_flag in FLAGS.values():
        assert (
            f"| {response_flag.flag} | {response_flag.meaning} | {', '.join(response_flag.kinds) or '-'} |"
            in page
        )


def test_flags_of_an_attribute_are_described_in_order() -> None:
    assert describe("-") == describe("") == ()
    assert [response_flag.flag for response_flag in describe("UF,URX")] == ["UF", "URX"]
    assert describe("ZZ")[0].meaning == "an unknown response flag"
