"""Documents as YAML text: keys in their own order, block style, the same bytes for the same value."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter


class _Representer(SafeRepresenter):
    """Quotes text with characters that a terminal could interpret, so that they can be escaped."""

    def represent_text(self, text: str) -> ScalarNode:
        style = None if all(map(_is_plain, text)) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Representer.add_representer(str, _Representer.represent_text)


def dump_yaml(documents: Iterable[Any]) -> str:
    """The YAML of one or more documents, separated by `---`. Characters that do not print are escaped."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 4096
    out = io.StringIO()
    for index, document in enumerate(documents):
        if index:
            out.write("---\n")
        yaml.dump(document, out)
    return "".join(char if _is_plain(char) else _escape(char) for char in out.getvalue())


def _is_plain(char: str) -> bool:
    return char.isprintable() or char == "\n"


def _escape(char: str) -> str:
    """The escape of a character inside double quotes."""
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"
