"""Documents as YAML text: keys in their own order, block style, the same bytes for the same value."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML


def dump_yaml(documents: Iterable[Any]) -> str:
    """The YAML of one or more documents, separated by `---`."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 4096
    out = io.StringIO()
    for index, document in enumerate(documents):
        if index:
            out.write("---\n")
        yaml.dump(document, out)
    return out.getvalue()
