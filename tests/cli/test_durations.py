"""Durations of options: GEP-2257, or a bare number of seconds."""

from __future__ import annotations

import pytest
import typer

from meshwright.cli.durations import duration_parser, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("1m30s", 90),
        ("24h", 86_400),
        ("1d", 86_400),
        ("30d", 30 * 86_400),
        ("1d12h", 129_600),
        ("30", 30),
        ("0.2", 0.2),
        ("0", 0),
    ],
)
def test_durations_and_bare_numbers_are_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "-1s", "nan", "inf", "1e3", "1.5s", "d", "1.5d", "1d soon", "12h1d", " 1s"]
)
def test_other_text_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_seconds(text)


def test_an_option_checks_its_range_and_keeps_its_default() -> None:
    parse = duration_parser(1, 3600)
    assert parse("1h") == 3600
    assert parse(0.5) == 0.5, "a default is not checked"
    for text in ("500ms", "61m"):
        with pytest.raises(typer.BadParameter, match="must be from 1s to 1h"):
            parse(text)
    with pytest.raises(typer.BadParameter, match="'soon' is not a duration"):
        parse("soon")
