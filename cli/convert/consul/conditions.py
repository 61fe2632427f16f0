"""Conditions on headers and parameters, which routers and intentions share."""

from __future__ import annotations

import re

from meshwright.cli.convert.documents import Document
from meshwright.cli.convert.reading import Value


def value_match(item: Value) -> Document | None:
    """A match on a header or parameter; None, and a remark, if it cannot be written."""
    name, ignores_case = item.text("name"), item.flag("ignoreCase")
    content = item.node.value
    if not isinstance(content, dict) or content.get("invert"):  # `invert` stays unread, so it is named
        return None
    item.get("invert")
    for field in ("exact", "prefix", "suffix", "contains", "regex"):
        if value := item.get(field):
            return {"name": name} | _form(field, value.string(), ignores_case=ignores_case)
    if item.flag("present"):
        return {"type": "RegularExpression", "name": name, "value": ".*"}
    item.problem("has no condition that is known: its match is left out")
    return None


def _form(field: str, text: str, *, ignores_case: bool) -> Document:
    if field == "exact" and not ignores_case:
        return {"value": text}
    literal = re.escape(text)
    pattern = {
        "exact": literal,
        "prefix": f"{literal}.*",
        "suffix": f".*{literal}",
        "contains": f".*{literal}.*",
        "regex": text,
    }[field]
    return {"type": "RegularExpression", "value": f"(?i){pattern}" if ignores_case else pattern}
