"""The outcome of a change in words."""

from __future__ import annotations

from meshwright.control_plane.api.models.proxies import ProxyStatus, WaitResult
from meshwright.tui.features.policies.change_flow import wait_outcome

REFUSING = ProxyStatus(
    name="front-1",
    service="front",
    state="rejected",
    revision=3,
    error="no such escape",
    responded_revision=5,
    rejected_revision=4,
)


def test_a_programmed_change_mentions_older_rejections() -> None:
    assert wait_outcome(WaitResult(state="programmed", revision=5)) == (
        "● revision 5 is programmed on every connected sidecar",
        "information",
    )
    text, severity = wait_outcome(WaitResult(state="programmed", revision=5, rejecting_older=(REFUSING,)))
    assert text.endswith("; resources of revision 4 are still rejected by front-1")
    assert severity == "warning"


def test_a_rejected_change_is_an_error() -> None:
    text, severity = wait_outcome(WaitResult(state="rejected", revision=4, proxies=(REFUSING,)))
    assert ("front-1: no such escape" in text, severity) == (True, "error")


def test_a_withdrawn_change_says_why_and_one_in_waves_how_far_it_is() -> None:
    text, severity = wait_outcome(WaitResult(state="rejected", revision=4, withdrawn="front-1 rejected it"))
    assert (text, severity) == ("× revision 4 was withdrawn: front-1 rejected it", "error")
    text, severity = wait_outcome(WaitResult(state="timeout", revision=4, waves="revision 4 on trial"))
    assert (text, severity) == ("◊ revision 4 on trial", "information")
