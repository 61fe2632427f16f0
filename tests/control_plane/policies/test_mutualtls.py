"""MutualTLS: one mode for all callers, and the strictest of several."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from meshwright.control_plane.policies.hooks import TransportMode, strictest
from meshwright.control_plane.policies.mutualtls.envoy import MODES, MutualTLSHooks
from meshwright.control_plane.policies.mutualtls.spec import MutualTLSMode, MutualTLSSpec


def test_from_is_rejected() -> None:
    with pytest.raises(ValidationError, match="all callers"):
        MutualTLSSpec.model_validate({"from": ["a"]})


@pytest.mark.parametrize(
    ("modes", "mode"),
    [
        ([], "Strict"),
        (["Disabled"], "Disabled"),
        (["Permissive", "Disabled"], "Permissive"),
        (["Disabled", "Strict", "Permissive"], "Strict"),
    ],
)
def test_strictest_mode_of_several_is_in_force(modes: list[MutualTLSMode], mode: MutualTLSMode) -> None:
    hooks = [MutualTLSHooks(MutualTLSSpec(mode=item)) for item in modes]
    assert strictest(item.transport_mode() for item in hooks) is MODES[mode]


def test_without_a_policy_the_mode_is_strict() -> None:
    assert strictest([]) is TransportMode.STRICT
