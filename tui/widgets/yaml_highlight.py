"""YAML in colour: fields, values, comments. Pure."""

from __future__ import annotations

import re

from textual.content import Content

from meshwright.tui.theme import paint

_FIELD = re.compile(r"^(\s*(?:- )*)([A-Za-z][\w./-]*)(:)(\s.*)?$")


def highlight_yaml(text: str) -> Content:
    """A YAML text."""
    return Content("\n").join([highlight_line(line) for line in text.rstrip("\n").split("\n")])


def highlight_line(text: str) -> Content:
    """One line; what is neither a field nor a comment stays plain."""
    if text.lstrip().startswith("#"):
        return paint(text, "dim")
    match = _FIELD.match(text)
    if not match:
        return Content(text)
    indent, field, colon, value = match.groups()
    return Content.assemble(indent, paint(field, "accent"), paint(colon, "dim"), value or "")
