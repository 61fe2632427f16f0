"""What a policy targets, in a few words. Pure, and cheap to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def target_summary(spec: Mapping[str, Any]) -> str:
    """The targets of a policy, such as `Service/orders, from storefront`, or the service of a Subset.

    Those of an EnvoyPatch come with what it patches: `Service/orders: Listener inbound`.
    """
    refs = spec.get("targetRefs") or spec.get("parentRefs") or ()
    parts = [
        f"{ref.get('kind', 'Gateway')}/{ref['name']}" if ref.get("name") else ref.get("kind", "")
        for ref in refs
    ]
    if callers := spec.get("from"):
        parts.append(f"from {', '.join(callers)}")
    targets = ", ".join(parts) or str(spec.get("service", ""))
    patched = dict.fromkeys(f"{patch['type']} {patch['name']}" for patch in spec.get("patches", ()))
    return f"{targets}: {', '.join(patched)}" if patched else targets
