"""What proxies hold, counted by the policies that shaped it: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from meshwright.control_plane.core.resource import Resource
from meshwright.control_plane.status.conditions import RolloutCount

ProxyHoldings = Iterable[tuple[Resource, bool, str]]
"""One proxy's resources: each with whether it ACKed it, and in its words why it refused it."""


@dataclass(slots=True)
class _Count:
    holders: int = 0
    acked: int = 0
    rejections: set[str] = field(default_factory=set)


def count_rollout(proxies: Iterable[ProxyHoldings]) -> dict[str, RolloutCount]:
    """Deliveries by `Kind/name`: a proxy has ACKed a policy when it ACKed all that the policy shaped."""
    counts: dict[str, _Count] = defaultdict(_Count)
    for holdings in proxies:
        complete: dict[str, bool] = {}
        for resource, acked, refusal in holdings:
            for ref in resource.policies:
                complete[ref] = complete.get(ref, True) and acked
                if refusal:
                    counts[ref].rejections.add(refusal)
        for ref, whole in complete.items():
            counts[ref].holders += 1
            counts[ref].acked += whole
    return {
        ref: RolloutCount(count.holders, count.acked, tuple(sorted(count.rejections)))
        for ref, count in counts.items()
    }
