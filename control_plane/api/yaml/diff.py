"""The difference between two sets of policy documents, as a unified diff of YAML. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from meshwright.control_plane.api.yaml.dump import dump_yaml

Document = Mapping[str, Any]
Key = tuple[str, str]


def document_key(document: Document) -> Key:
    """Kind and name of a document."""
    return str(document["kind"]), str(document["metadata"]["name"])


def unified_diff(before: Iterable[Document], after: Iterable[Document]) -> str:
    """One file `Kind/name` per document that differs; empty if none does."""
    old, new = ({document_key(document): document for document in side} for side in (before, after))
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key):
            continue
        ref = "/".join(key)
        left, right = (_sorted_yaml(side[key]) if key in side else "" for side in (old, new))
        lines += difflib.unified_diff(
            left.splitlines(keepends=True),
            right.splitlines(keepends=True),
            f"a/{ref}" if left else "/dev/null",
            f"b/{ref}" if right else "/dev/null",
        )
    return "".join(lines)


def _sorted_yaml(document: Document) -> str:
    """YAML with sorted keys: the order of keys is not a difference."""
    return dump_yaml([json.loads(json.dumps(document, sort_keys=True))])
