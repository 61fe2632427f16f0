"""Moments as text: what is read is what was written, and damage is noticed."""

from __future__ import annotations

import base64
import zlib

import pytest

from meshwright.control_plane.api.models.topology import ServiceTrend
from meshwright.control_plane.moments.codec import UnreadableMomentError, decode, encode
from tests.control_plane.moments.samples import AT, moment


def test_a_moment_is_read_as_it_was_but_for_trends() -> None:
    written = moment(AT + 0.123)
    read = decode(encode(written))
    assert (read.time, read.topology, read.verdict) == (written.time, written.topology, written.verdict)
    assert read.services.services[0].history == ServiceTrend(step=16.0)
    assert read.services.services[0].model_copy(update={"history": None}) == written.services.services[
        0
    ].model_copy(update={"history": None})


def test_one_failure_in_ten_thousand_is_not_rounded_away() -> None:
    assert decode(encode(moment(success=0.9999))).topology.edges[0].success == 0.9999


@pytest.mark.parametrize(
    "text",
    ["", "no base64!", "AAAA", base64.b64encode(zlib.compress(b"{}")).decode(), encode(moment())[:-40]],
)
def test_damaged_text_is_no_moment(text: str) -> None:
    with pytest.raises(UnreadableMomentError):
        decode(text)
