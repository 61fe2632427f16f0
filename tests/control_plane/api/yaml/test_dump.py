"""YAML text: every value comes back, and no character controls a terminal."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.api.yaml.dump import dump_yaml


@pytest.mark.parametrize(
    "text",
    [
        "a\u202eb",
        "a\x85b",
        "\u3000",
        "\ttab\n  x",
        "\U000e0001",
        "two\nlines\n",
        "x: \x1b[0m",
        "\ufeff",
        '\\\u202e"',
    ],
)
def test_text_is_escaped_and_comes_back(text: str) -> None:
    document = {"key": text, text: "value"}
    written = dump_yaml([document])
    assert [char for char in written if not char.isprintable() and char != "\n"] == []
    assert YAML(typ="safe", pure=True).load(written) == document
