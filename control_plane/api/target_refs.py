"""What a policy is for, in few words: pure, and cheap to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def target_summary(spec: Mapping[str, Any]) -> str:
    """What a policy is attached to, or names, in few words."""
    refs = spec.get("targetRefs") or spec.get("parentRefs") or ()
    words = [
        f"{ref.get('kind', 'Gateway')}/{ref['name']}" if ref.get("name") else ref.get("kind", "")
        for ref in refs
    ]
    if callers := spec.get("from"):
        words.append(f"from {', '.join(callers)}")
    return ", ".join(words) or str(spec.get("service", ""))
