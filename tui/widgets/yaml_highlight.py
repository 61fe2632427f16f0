"""YAML as text in colours: fields, values, remarks. Pure but for the colours' names."""

from __future__ import annotations

import re

from textual.content import Content

from meshwright.tui.theme import paint

_FIELD = re.compile(r"^(\s*(?:- )*)([A-Za-z][\w./-]*)(:)(\s.*)?$")


def highlight_yaml(text: str) -> Content:
    """A YAML text; what is no field stays plain."""
    return Content("\n").join([highlight_line(one) for one in text.rstrip("\n").split("\n")])


def highlight_line(text: str) -> Content:
    """One line of it."""
    if text.lstrip().startswith("#"):
        return paint(text, "dim")
    found = _FIELD.match(text)
    if not found:
        return Content(text)
    before, field, colon, value = found.groups()
    return Content.assemble(before, paint(field, "accent"), paint(colon, "dim"), value or "")
