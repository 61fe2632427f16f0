"""What the tests of every converter do with an example: compare it with its golden, and list its fields."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from meshwright.cli.application import Application
from meshwright.cli.convert.conversion import Conversion
from meshwright.cli.convert.reading import schema_path
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.api.yaml.parser import Position, YamlNode
from meshwright.control_plane.policies.loader import load
from meshwright.control_plane.policies.registry import kinds


def check_golden(result: Conversion, golden: Path) -> None:
    """The remarks and documents are those of the golden, and the documents are valid."""
    application = result.application.document("")
    shown = [*result.documents, *([application] if application else [])]
    text = "".join(f"# {remark}\n" for remark in result.remarks) + dump_yaml(shown)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
    loaded = load(dump_yaml(shown).encode(), "converted.yaml", {**kinds(), "Application": Application})
    assert (loaded.problems, len(loaded.documents)) == ((), len(shown))


def nodes_below(node: YamlNode, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Position]]:
    """The path and the position of every field below a node."""
    for key, (position, child) in node.children.items():
        if isinstance(key, str):
            yield schema_path((*path, key)), position
        yield from nodes_below(child, (*path, key))
